/** The image as a sidecar of the real opencode: shared namespaces, kill and restart, PID 1, read-only, health, stop. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleProvider, opencodeBinary, PROJECT } from './app.mjs';
import { Engine, NODE_IMAGE } from './engine.mjs';
import { OPENCODE_ENV, OPENCODE_JSON, Opencode, PROVIDER_PORT } from './opencode.mjs';
import { assert, check, measured, part, skip } from './report.mjs';
import { pause, sh, until } from './shell.mjs';

const IMAGE = 'opencode-watchdog:trial';
const URL = 'http://127.0.0.1:4096';
const PASSWORD = 'trial-Pa55w0rd-4712';
const MAX_IMAGE_BYTES = 250e6;
const GRACE_SECONDS = 10;

const WATCHDOG_FLAGS = [
  '--read-only',
  // Docker's own read-only has no writable /tmp, podman's would have.
  '--read-only-tmpfs=false',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
  '--restart=always',
  '-e=OPENCODE_WATCHDOG_SERVER_CONTROL=external',
  '-e=OPENCODE_WATCHDOG_RETRY_MAXATTEMPTS=50',
  '-e=OPENCODE_WATCHDOG_RETRY_MAXDURATION=10m',
  '-e=OPENCODE_WATCHDOG_PILEUP_MINDURATION=3s',
  `-e=OPENCODE_SERVER_PASSWORD=${PASSWORD}`,
];

export async function image(lab) {
  part('image');
  const binary = opencodeBinary();
  const missing =
    (await Engine.missing()) ?? (binary ? undefined : 'no opencode binary in node_modules');
  if (missing) return skip('everything about the image', missing);
  const engine = new Engine(join(lab, 'podman'));
  await engine.make();
  try {
    const built = await check('the Dockerfile builds', async () => {
      await engine.build(IMAGE, PROJECT);
    });
    if (!built) return;
    await trialImage(engine, lab, binary);
    await look(engine);
    await pod(engine);
    await direct(engine);
    await pid1(engine);
    await setUps(engine);
    await published(engine);
    await composeImage(engine, lab);
    await compose(engine, lab);
  } finally {
    await engine.clean();
  }
}

/** opencode with its fake provider's configuration, as the user 1000. */
async function trialImage(engine, lab, binary) {
  const context = join(lab, 'opencode-image');
  rmSync(context, { recursive: true, force: true });
  mkdirSync(context, { recursive: true });
  cpSync(binary, join(context, 'opencode'));
  await bundleProvider(join(context, 'provider.mjs'));
  writeFileSync(join(context, 'opencode.json'), OPENCODE_JSON);
  const env = Object.entries(OPENCODE_ENV).map(([name, value]) => `${name}=${value}`);
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM ${NODE_IMAGE}
COPY opencode /usr/local/bin/
COPY provider.mjs /opt/
COPY opencode.json /home/node/.config/opencode/
RUN mkdir /work && chown -R 1000:1000 /home/node /work
USER 1000:1000
WORKDIR /work
ENV HOME=/home/node ${env.join(' ')}
CMD ["opencode", "serve", "--hostname", "127.0.0.1", "--port", "4096"]
`,
  );
  await engine.build('opencode:trial', context);
}

async function look(engine) {
  await check('the image is under 250 MB', async () => {
    const bytes = Number(await engine.do(['image', 'inspect', '--format', '{{.Size}}', IMAGE]));
    const base = Number(await engine.do(['image', 'inspect', '--format', '{{.Size}}', NODE_IMAGE]));
    assert(bytes < MAX_IMAGE_BYTES, `${bytes} bytes`);
    return `${Math.round(bytes / 1e6)} MB, from a base of ${Math.round(base / 1e6)} MB`;
  });
  await check('it is non-root, stops by SIGTERM, has a health check and labels', async () => {
    const of = async (what) =>
      JSON.parse(await engine.do(['image', 'inspect', '--format', `{{json .${what}}}`, IMAGE]));
    const { User, StopSignal, Labels } = await of('Config');
    assert(User === '1000:1000', `User ${User}`);
    assert(StopSignal === 'SIGTERM', `StopSignal ${StopSignal}`);
    assert(Labels['org.opencontainers.image.title'] === 'opencode-watchdog', 'labels');
    const { Test } = await of('HealthCheck');
    assert(Test.join(' ') === 'CMD opencode-watchdog healthcheck', Test.join(' '));
  });
  await check('it says its version, and runs no shell for it', async () =>
    engine.do(['run', '--rm', '--network=none', IMAGE, '--version']),
  );
}

/** As deploy/compose.yaml: a third container holds the namespaces, as the pause container of a Kubernetes pod does. */
async function pod(engine) {
  await engine.start(
    'wt-pod',
    IMAGE,
    ['--init', '--network=none', '--entrypoint=sleep'],
    ['infinity'],
  );
  const joined = ['--pid=container:wt-pod', '--network=container:wt-pod'];
  await engine.start('wt-provider', 'opencode:trial', joined, [
    'node',
    '/opt/provider.mjs',
    `${PROVIDER_PORT}`,
  ]);
  await engine.start('wt-opencode', 'opencode:trial', [
    ...joined,
    '--restart=always',
    '-e',
    `OPENCODE_SERVER_PASSWORD=${PASSWORD}`,
  ]);
  await engine.start('wt-watchdog', IMAGE, [...joined, ...WATCHDOG_FLAGS]);
  const opencode = new Opencode(engine.asker('wt-pod', URL, PASSWORD));
  await until('opencode is up', () => opencode.healthy(), 90_000);
  await sidecar(engine, opencode, 'a pod of containers', async () => {
    const starts = await engine.inspect('wt-watchdog', '{{.RestartCount}}');
    assert(starts === '0', `the watchdog was restarted ${starts} times`);
  });

  await check(
    'a pod of containers: the health check is green, and red without a daemon',
    async () => {
      await until(
        'green',
        async () => (await engine.try(['healthcheck', 'run', 'wt-watchdog'])).code === 0,
        30_000,
      );
      const { code } = await engine.try(['run', '--rm', '--network=none', IMAGE, 'healthcheck']);
      assert(code === 1, `without a daemon: exit code ${code}`);
    },
  );
  await check('a pod of containers: it runs as 1000, read-only, without capabilities', async () => {
    const pid = await engine.inspect('wt-watchdog', '{{.State.Pid}}');
    const { out } = await engine.try([
      'exec',
      'wt-watchdog',
      'node',
      '-e',
      'process.stdout.write(String(process.getuid())); try { require("node:fs").writeFileSync("/home/node/x", ""); console.log(" writes") } catch (error) { console.log(" " + error.code) }',
    ]);
    assert(out.trim() === '1000 EROFS', `pid ${pid}: ${out}`);
  });
  await check(
    'a pod of containers: a killed watchdog comes back, and the server lives on',
    async () => {
      const before = await engine.inspect('wt-opencode', '{{.State.Pid}}');
      const watchdog = await engine.inspect('wt-watchdog', '{{.State.Pid}}');
      assert(Number(watchdog) > 1, `its pid is ${watchdog}`);
      process.kill(Number(watchdog), 'SIGKILL');
      await until('another watchdog', async () => {
        const pid = await engine.inspect('wt-watchdog', '{{.State.Pid}}');
        return pid !== '0' && pid !== watchdog;
      });
      assert(
        (await engine.inspect('wt-opencode', '{{.State.Pid}}')) === before,
        'opencode was restarted',
      );
    },
  );
  await check('docker stop ends it within its grace, and leaves the server alone', async () => {
    const healthy = async () =>
      (await engine.logs('wt-watchdog')).split('"server.healthy"').length - 1;
    // One for each of the two daemons, and one after the pile-up.
    await until('the next watchdog watches', async () => (await healthy()) >= 3);
    const began = Date.now();
    await engine.do(['stop', '-t', `${GRACE_SECONDS}`, 'wt-watchdog']);
    const took = Date.now() - began;
    const code = await engine.inspect('wt-watchdog', '{{.State.ExitCode}}');
    assert(took < GRACE_SECONDS * 1000 && code === '0', `${took} ms, exit code ${code}`);
    assert(await opencode.healthy(), 'the server is gone');
    return `${(took / 1000).toFixed(1)} s, exit code 0`;
  });
  await engine.clean();
}

/** Three stuck sessions: killed through the shared PID namespace, restarted by the engine. */
async function sidecar(engine, opencode, name, more) {
  await check(
    `${name}: three stuck sessions lead to a kill, and the restart policy brings the server back`,
    async () => {
      await until('the watchdog watches', async () =>
        /"server.healthy"/.test(await engine.logs('wt-watchdog')),
      );
      const before = await engine.inspect('wt-opencode', '{{.State.StartedAt}}');
      for (let i = 0; i < 3; i += 1) await opencode.prompt('[[503]] pile');
      const began = Date.now();
      const gone = await until(
        'the restart',
        async () => {
          const now = await engine.inspect('wt-opencode', '{{.State.StartedAt}}');
          return now !== before && (await opencode.healthy().catch(() => false));
        },
        120_000,
      ).catch(async (error) => {
        throw new Error(`${error.message}\n${(await engine.logs('wt-watchdog')).slice(-3000)}`);
      });
      assert(gone, 'not restarted');
      assert(Object.keys(await opencode.statuses()).length === 0, 'sessions are still stuck');
      await until(
        'server.restarted',
        async () => /"server.restart(ed|ing)".*"pileup"/.test(await engine.logs('wt-watchdog')),
        60_000,
      );
      await more();
      return `${((Date.now() - began) / 1000).toFixed(1)} s after the third prompt`;
    },
  );
}

/** The sidecar joins opencode's own container: then opencode needs an init, and the sidecar ends with it. */
async function direct(engine) {
  await engine.start('wt-opencode', 'opencode:trial', [
    '--init',
    '--network=none',
    '--restart=always',
    '-e',
    `OPENCODE_SERVER_PASSWORD=${PASSWORD}`,
  ]);
  const joined = ['--pid=container:wt-opencode', '--network=container:wt-opencode'];
  await engine.start('wt-watchdog', IMAGE, [...joined, ...WATCHDOG_FLAGS]);
  const provider = () =>
    engine.start(
      'wt-provider',
      'opencode:trial',
      ['--network=container:wt-opencode'],
      ['node', '/opt/provider.mjs', `${PROVIDER_PORT}`],
    );
  await provider();
  const opencode = new Opencode(engine.asker('wt-opencode', URL, PASSWORD));
  await until('opencode is up', () => opencode.healthy(), 90_000);
  await sidecar(engine, opencode, "opencode's own namespaces, --init", async () => {});
  // The namespace ends with its PID 1, and the sidecar with it. Its own restart needs opencode to be up again first, and
  // an engine that tries too early may not try again: why compose.yaml gives the namespaces a container of their own.
  await pause(5_000);
  const [status, count] = (
    await engine.inspect('wt-watchdog', '{{.State.Status}} {{.RestartCount}}')
  ).split(' ');
  measured(
    "opencode's own namespaces, --init: the sidecar afterwards",
    `${status}, restarted ${count} times`,
  );
  await engine.clean();
}

async function pid1(engine) {
  await engine.start('wt-opencode', 'opencode:trial', [
    '--network=none',
    '-e',
    `OPENCODE_SERVER_PASSWORD=${PASSWORD}`,
  ]);
  const joined = ['--pid=container:wt-opencode', '--network=container:wt-opencode'];
  const opencode = new Opencode(engine.asker('wt-opencode', URL, PASSWORD));
  await until('opencode is up', () => opencode.healthy(), 90_000);
  await engine.start('wt-watchdog', IMAGE, [...joined, ...WATCHDOG_FLAGS]);
  await check('without an init the diagnosis of PID 1 is in the log', async () => {
    const line = await until(
      'the diagnosis',
      async () =>
        (await engine.logs('wt-watchdog'))
          .split('\n')
          .find((text) => text.includes('PID 1') && text.includes('init: true')),
      30_000,
    );
    return JSON.parse(line).notice?.slice(0, 120);
  });
  await engine.clean();
}

/** Lawful shapes that the withheld password must not break: another PID namespace, and root over another user's opencode. */
async function setUps(engine) {
  await engine.start(
    'wt-pod',
    IMAGE,
    ['--init', '--network=none', '--entrypoint=sleep'],
    ['infinity'],
  );
  const network = '--network=container:wt-pod';
  await engine.start('wt-opencode', 'opencode:trial', [
    '--pid=container:wt-pod',
    network,
    '--restart=always',
    `-e=OPENCODE_SERVER_PASSWORD=${PASSWORD}`,
  ]);
  const opencode = new Opencode(engine.asker('wt-pod', URL, PASSWORD));
  await until('opencode is up', () => opencode.healthy(), 90_000);

  await check(
    'a sidecar in another PID namespace gets in with the password, and looks on',
    async () => {
      const flags = WATCHDOG_FLAGS.filter((flag) => !flag.includes('CONTROL'));
      await engine.start('wt-apart', IMAGE, [network, ...flags]);
      const log = await until('it watches', async () => {
        const text = await engine.logs('wt-apart');
        return /"server.healthy"/.test(text) && text;
      });
      assert(!/withheld/.test(log), log.slice(-2000));
      await engine.do(['stop', '-t', '10', 'wt-apart']);
      assert(await opencode.healthy(), 'it ended the server');
      return /control is [^"]*/.exec(log)?.[0].slice(0, 100);
    },
  );

  await check(
    'a root sidecar ends the opencode of another user, where control is external',
    async () => {
      const needed = ['DAC_READ_SEARCH', 'SYS_PTRACE', 'KILL'].map((name) => `--cap-add=${name}`);
      const flags = ['--user=0:0', ...needed, ...WATCHDOG_FLAGS];
      await engine.start('wt-root', IMAGE, ['--pid=container:wt-pod', network, ...flags]);
      await until('it watches', async () => /"server.healthy"/.test(await engine.logs('wt-root')));
      const before = await engine.inspect('wt-opencode', '{{.State.StartedAt}}');
      await engine.do(['exec', 'wt-root', 'opencode-watchdog', 'restart']);
      await until(
        'opencode is back',
        async () =>
          (await engine.inspect('wt-opencode', '{{.State.StartedAt}}')) !== before &&
          (await opencode.healthy().catch(() => false)),
        90_000,
      );
    },
  );
  await engine.clean();
}

/** A published port: the engine's own process holds it, or the kernel forwards it and nobody does. */
async function published(engine) {
  const port = 45_096;
  const name = 'a published port: a command of the host gets in with the password';
  try {
    await engine.start(
      'wt-published',
      'opencode:trial',
      [`--publish=127.0.0.1:${port}:4096`, '--init', `-e=OPENCODE_SERVER_PASSWORD=${PASSWORD}`],
      ['opencode', 'serve', '--hostname', '0.0.0.0', '--port', '4096'],
    );
  } catch (error) {
    return skip(name, `this machine gives a container no network: ${error.message.slice(-200)}`);
  }
  const asked = (more) =>
    sh(
      process.execPath,
      [join(PROJECT, 'dist/cli.js'), 'check', '--url', `http://127.0.0.1:${port}`],
      {
        env: {
          PATH: process.env.PATH,
          HOME: '/nonexistent',
          OPENCODE_SERVER_PASSWORD: PASSWORD,
          ...more,
        },
        cwd: '/',
      },
    );
  await check(name, async () => {
    const { out, err } = await until(
      'opencode is up',
      async () => {
        const answer = await asked({ OPENCODE_WATCHDOG_SERVER_CONTROL: 'observe' });
        return /1\.18/.test(answer.out) && answer;
      },
      90_000,
      2_000,
    );
    assert(!/withheld/.test(out + err), out + err);
    const holder = (await sh('ss', ['-Hltnp', `sport = :${port}`])).out.trim();
    const auto = await asked({});
    // Where the kernel alone forwards, nobody is seen: the error must say which server.control lets the password out.
    if (holder === '')
      assert(/withheld.*server\.control/s.test(auto.out + auto.err), auto.out + auto.err);
    else assert(!/withheld/.test(auto.out + auto.err), auto.out + auto.err);
    return holder === ''
      ? 'nobody holds the port: server.control is needed, and said'
      : `held by ${/users:\(\("([^"]+)/.exec(holder)?.[1]}`;
  });
  await engine.clean();
}

/** deploy/opencode/Dockerfile: npm's opencode, with the password of a secret that is a file. */
async function composeImage(engine, lab) {
  const built = await check('deploy/opencode/Dockerfile builds', async () => {
    await engine.build('opencode-compose:trial', join(PROJECT, 'deploy/opencode'));
  });
  if (!built) return;
  await check(
    'its opencode takes the password from the secret, and its wrapper can be killed with it',
    async () => {
      const secret = join(lab, 'opencode-password');
      writeFileSync(secret, `${PASSWORD}\n`, { mode: 0o644 });
      await engine.start(
        'wt-pod',
        IMAGE,
        ['--init', '--network=none', '--entrypoint=sleep'],
        ['infinity'],
      );
      const joined = ['--pid=container:wt-pod', '--network=container:wt-pod', '--restart=always'];
      const mount = `--volume=${secret}:/run/secrets/opencode_password:ro`;
      await engine.start('wt-opencode', 'opencode-compose:trial', [...joined, mount]);
      const opencode = new Opencode(engine.asker('wt-pod', URL, PASSWORD));
      await until('opencode is up', () => opencode.healthy(), 90_000);
      const { status } = await engine.asker('wt-pod', URL)('GET', '/global/health');
      assert(status === 401, `without the password: ${status}`);
      const flags = WATCHDOG_FLAGS.filter((flag) => !flag.includes('PASSWORD'));
      flags.push('-e=OPENCODE_WATCHDOG_SERVER_PASSWORDFILE=/run/secrets/opencode_password', mount);
      await engine.start('wt-watchdog', IMAGE, [...joined, ...flags]);
      await until('the watchdog watches', async () =>
        /"server.healthy"/.test(await engine.logs('wt-watchdog')),
      );
      const before = await engine.inspect('wt-opencode', '{{.State.StartedAt}}');
      await engine.do(['exec', 'wt-watchdog', 'opencode-watchdog', 'restart']);
      await until(
        'opencode is back',
        async () => {
          const now = await engine.inspect('wt-opencode', '{{.State.StartedAt}}');
          return now !== before && (await opencode.healthy().catch(() => false));
        },
        90_000,
      );
      await engine.do(['exec', 'wt-watchdog', 'opencode-watchdog', 'status']);
    },
  );
  await engine.clean();
}

/** deploy/compose.yaml itself, by Compose through the engine's socket. */
async function compose(engine, lab) {
  const name = 'deploy/compose.yaml comes up, and the watchdog in it restarts opencode';
  const command = (await sh('sh', ['-c', 'command -v docker-compose'])).out.trim();
  if (command === '')
    return skip(name, 'docker-compose is not installed (apt install docker-compose)');
  const folder = join(lab, 'compose');
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(PROJECT, 'deploy'), folder, { recursive: true });
  mkdirSync(join(folder, 'project'));
  const version = (await sh(command, ['version', '--short'])).out.trim();
  // Compose 1 has no name of the project in the file; it knows everything else that is there.
  const file = join(folder, 'compose.yaml');
  if (version.startsWith('1.'))
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^name: .*$/m, ''));
  writeFileSync(join(folder, 'opencode-password'), `${PASSWORD}\n`, { mode: 0o644 });
  await engine.do(['tag', 'opencode-compose:trial', 'docker.io/library/opencode:latest']);
  await engine.do(['tag', IMAGE, 'docker.io/library/opencode-watchdog:latest']);
  // A stand-in, so that the trial needs no registry: of the image that does nothing only its `sleep` is used.
  const [podImage] = /(?<=image: )\S+busybox\S+/.exec(readFileSync(file, 'utf8'));
  await engine.do(['tag', IMAGE, podImage]);
  const socket = join(lab, 'podman.sock');
  const service = engine.serve(socket);
  const up = (...words) =>
    sh(command, ['-p', 'opencode', '-f', 'compose.yaml', ...words], {
      cwd: folder,
      env: { ...process.env, DOCKER_HOST: `unix://${socket}` },
      timeoutMs: 120_000,
    });
  try {
    await until(
      'the engine answers',
      async () => (await sh('curl', ['-fs', '--unix-socket', socket, 'http://d/_ping'])).code === 0,
      20_000,
    );
    const started = await up('up', '-d', '--no-build');
    if (started.code !== 0) {
      return skip(
        name,
        `Compose over podman's socket: ${(started.err + started.out).trim().slice(-400)}`,
      );
    }
    await check(name, async () => {
      const watchdog = (await up('ps', '-q', 'watchdog')).out.trim();
      await until(
        'the watchdog watches',
        async () => /"server.healthy"/.test(await engine.logs(watchdog)),
        90_000,
      );
      const inside = (word) => up('exec', '-T', 'watchdog', 'opencode-watchdog', word);
      const status = await inside('status');
      assert(status.code === 0 && /healthy/.test(status.out), status.out + status.err);
      const opencode = (await up('ps', '-q', 'opencode')).out.trim();
      const before = await engine.inspect(opencode, '{{.State.StartedAt}}');
      const restart = await inside('restart');
      assert(restart.code === 0, restart.out + restart.err);
      await until(
        'opencode is another, and healthy',
        async () =>
          (await engine.inspect(opencode, '{{.State.StartedAt}}')) !== before &&
          / healthy/.test((await inside('status')).out),
        90_000,
        2_000,
      );
      return `Compose ${version}`;
    });
  } finally {
    const down = await up('down', '--volumes', '-t', '5');
    // Podman removes no container whose namespaces another one has joined, and Compose takes them in any order.
    const left = (await engine.do(['ps', '-aq', '--filter=name=^opencode_'])).split('\n');
    measured('docker-compose down', `exit code ${down.code}, ${left.filter(Boolean).length} left`);
    for (const id of left.filter(Boolean))
      await engine.try(['rm', '-fv', '--depend', '-t', '0', id]);
    service.kill('SIGTERM');
  }
}
