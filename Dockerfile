# opencode-watchdog as a sidecar: it shares the PID and network namespaces of the opencode that it watches.
#   docker build -t opencode-watchdog .
# How to run it: docs/deploy.md. Tried by test/deploy/image.mjs.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# Of the development dependencies only what compiles, as locked: the others bring hundreds of megabytes of opencode.
RUN version() { node -p "require('/app/package-lock.json').packages['node_modules/$1'].version"; } \
 && mkdir /tools && cd /tools \
 && npm install --no-audit --no-fund "typescript@$(version typescript)" \
      "@types/node@$(version @types/node)" "esbuild@$(version esbuild)"
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/bundle.mjs ./scripts/
COPY src ./src
RUN /tools/node_modules/.bin/tsc -p tsconfig.build.json --typeRoots /tools/node_modules/@types \
      --declaration false --sourceMap false \
 && ln -s /tools/node_modules/esbuild /tools/node_modules/@esbuild node_modules/ \
 && node scripts/bundle.mjs \
 && rm node_modules/esbuild node_modules/@esbuild \
 && chmod 755 dist/cli.js \
 && rm -r scripts src tsconfig.json tsconfig.build.json package-lock.json \
 && find node_modules dist -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.map' -o -name '*.md' \) -delete

# The slim base with tini, without what only builds: npm, yarn, headers, manuals, package lists.
FROM ${NODE_IMAGE} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* /opt/yarn-* \
      /usr/local/lib/node_modules /usr/local/include /usr/local/share /usr/local/*.md /usr/local/LICENSE \
      /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/yarn /usr/local/bin/yarnpkg /usr/local/bin/corepack \
      /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man \
 && mkdir -p /etc/opencode-watchdog \
 && ln -s /app/dist/cli.js /usr/local/bin/opencode-watchdog

# Copied into nothing, so that what was removed is really not there.
FROM scratch
COPY --from=base / /
COPY --from=build /app /app
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="opencode-watchdog" \
      org.opencontainers.image.description="Supervisor daemon for opencode serve: aborts stuck sessions, restarts the server when it must" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# TINI_SUBREAPER: in a shared PID namespace tini is not PID 1.
# MALLOC_TRIM_THRESHOLD_: glibc gives freed memory back sooner, 1 MB of an idle daemon. Not in the systemd units: there
# opencode and its tools would inherit it. What else keeps it small, it says to V8 itself (src/lib/engine.ts).
# XDG_RUNTIME_DIR: /dev/shm can be written with a read-only root file system too; the lock against a second daemon is there.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production \
    HOME=/home/node \
    TINI_SUBREAPER=1 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    XDG_RUNTIME_DIR=/dev/shm
# By number, so that Kubernetes can prove runAsNonRoot. opencode must run as the same user, or it cannot be looked into.
USER 1000:1000
WORKDIR /home/node
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["opencode-watchdog", "healthcheck"]
ENTRYPOINT ["tini", "--", "opencode-watchdog"]
CMD ["run"]
