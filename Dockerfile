# opencode-watchdog as a sidecar: it shares the PID and network namespaces of the opencode that it watches.
#   docker build -t opencode-watchdog .
# How to run it: docs/deploy.md. Tried by test/deploy/image.mjs.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# What goes into the bundle, as locked, and esbuild. Without the largest that neither is or makes a part of it: opencode
# alone has hundreds of megabytes.
RUN for name in opencode-ai @opencode-ai/sdk @biomejs/biome playwright-core vitest vite tsx typescript dclint fast-check \
      kubernetes-models @kubernetes-models/prometheus-operator; \
    do npm pkg delete "devDependencies.$name"; done \
 && npm install --ignore-scripts --no-audit --no-fund
COPY scripts/bundle.mjs ./scripts/
COPY src ./src
RUN node scripts/bundle.mjs && find dist -name '*.map' -delete

# The slim base with tini, without what only builds: npm, yarn, headers, manuals, package lists.
FROM ${NODE_IMAGE} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* /opt/yarn-* \
      /usr/local/lib/node_modules /usr/local/include /usr/local/share /usr/local/*.md /usr/local/LICENSE \
      /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/yarn /usr/local/bin/yarnpkg /usr/local/bin/corepack \
      /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man \
 && mkdir -p /etc/opencode-watchdog \
 && install -d -m 1777 /var/lib/opencode-watchdog \
 && ln -s /app/dist/cli.js /usr/local/bin/opencode-watchdog

# Copied into nothing, so that what was removed is really not there.
FROM scratch
COPY --from=base / /
COPY --from=build /app/package.json /app/
COPY --from=build /app/dist /app/dist
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="opencode-watchdog" \
      org.opencontainers.image.description="Supervisor daemon for opencode serve: aborts stuck sessions, restarts the server when it must" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# TINI_SUBREAPER: in a shared PID namespace tini is not PID 1.
# MALLOC_TRIM_THRESHOLD_: glibc gives freed memory back sooner, 1 MB of an idle daemon. Not in the systemd units: there
# opencode and its tools would inherit it.
# XDG_RUNTIME_DIR: /dev/shm can be written with a read-only root file system too; the lock against a second daemon is there.
# XDG_STATE_HOME: history, budgets and the token that `docker exec … opencode-watchdog restart` shows, in the volume below.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production \
    HOME=/home/node \
    TINI_SUBREAPER=1 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    XDG_RUNTIME_DIR=/dev/shm \
    XDG_STATE_HOME=/var/lib
# Writable where the root file system is not, and for any user.
VOLUME /var/lib/opencode-watchdog
# By number, so that Kubernetes can prove runAsNonRoot. opencode must run as the same user, or it cannot be looked into.
USER 1000:1000
WORKDIR /home/node
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["opencode-watchdog", "healthcheck"]
ENTRYPOINT ["tini", "--", "opencode-watchdog"]
CMD ["run"]
