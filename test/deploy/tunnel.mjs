/** A server reached through a real `ssh -L`, by a user who has the password: nobody's process is opencode on that port. */
import { assert, check } from './report.mjs';
import { environment, PASSWORD, UNITS } from './setup.mjs';
import { until } from './shell.mjs';

const PORT = 5096;

export async function tunnel(machine, opencode) {
  await machine.do(
    `install -m 644 ${UNITS}/pair/opencode.service -t /etc/systemd/system && printf '%s\\n' '${PASSWORD}' >/etc/opencode-watchdog/password`,
  );
  machine.write('etc/systemd/system/opencode.service.d/trial.conf', environment());
  await machine.do('systemctl daemon-reload && systemctl start opencode.service');
  await until('opencode is up', () => opencode.healthy());
  await tries(machine);
  await machine.do('systemctl stop opencode.service');
}

async function tries(machine) {
  const as = (command) =>
    `runuser -u bob -- env HOME=/home/bob XDG_RUNTIME_DIR= OPENCODE_WATCHDOG_STATUS_LISTEN=off OPENCODE_WATCHDOG_SERVER_CONTROL=auto OPENCODE_SERVER_PASSWORD=${PASSWORD} sh -c '${command}'`;
  const url = `http://127.0.0.1:${PORT}`;
  await check(
    'ssh -L: the password goes to the server behind it, by command and daemon',
    async () => {
      await machine.do(
        [
          'id bob >/dev/null 2>&1 || useradd --create-home bob',
          'mkdir -p /run/sshd /home/bob/.ssh && ssh-keygen -A >/dev/null',
          'rm -f /home/bob/.ssh/id_ed25519* && ssh-keygen -q -t ed25519 -N "" -f /home/bob/.ssh/id_ed25519',
          'cp /home/bob/.ssh/id_ed25519.pub /home/bob/.ssh/authorized_keys && chown -R bob: /home/bob/.ssh && chmod 700 /home/bob/.ssh',
          'systemctl start ssh',
        ].join(' && '),
      );
      const background = (name, command) =>
        machine.do(as(`cd; setsid ${command} >${name}.log 2>&1 </dev/null & echo $! >${name}.pid`));
      await background(
        'ssh',
        `ssh -N -o StrictHostKeyChecking=no -L ${PORT}:127.0.0.1:4096 bob@127.0.0.1`,
      );
      try {
        await until(
          'the tunnel',
          async () => (await machine.try(`ss -Hltn sport = :${PORT}`)).out !== '',
        );
        const checked = await machine.try(as(`cd && opencode-watchdog check --url ${url}`));
        assert(!/withheld|401/.test(checked.out + checked.err), checked.out + checked.err);
        assert(/1\.18/.test(checked.out), checked.out + checked.err);
        await background('run', `opencode-watchdog run --url ${url}`);
        await until(
          'the daemon sees it healthy',
          async () => /"server.healthy"/.test((await machine.try('cat /home/bob/run.log')).out),
          30_000,
        );
        const log = await machine.do('cat /home/bob/run.log');
        assert(!/withheld/.test(log), log);
        return /control is [^"]*/.exec(log)?.[0];
      } finally {
        await machine.try('kill $(cat /home/bob/*.pid); systemctl stop ssh');
      }
    },
  );

  await check('a tunnel of another user gets none, and the error says whose it is', async () => {
    const forward = `const{connect,createServer}=require("node:net");createServer((n)=>{const f=connect(4096,"127.0.0.1");n.pipe(f).pipe(n);for(const s of[n,f])s.on("error",()=>{n.destroy();f.destroy()})}).listen(${PORT},"127.0.0.1")`;
    machine.write('opt/forward.cjs', forward);
    await machine.do(
      'setsid setpriv --reuid=nobody --clear-groups node /opt/forward.cjs >/dev/null 2>&1 </dev/null & echo $! >/run/forward.pid',
    );
    try {
      const checked = await until(
        'its error',
        async () => {
          const { code, out, err } = await machine.try(
            as(`cd && opencode-watchdog check --url ${url}`),
          );
          return /withheld/.test(out + err) && { code, text: out + err };
        },
        20_000,
      );
      assert(checked.code === 4, `exit code ${checked.code}: ${checked.text}`);
      assert(/nobody|65534/.test(checked.text), checked.text);
    } finally {
      await machine.try('kill $(cat /run/forward.pid)');
    }
  });
}
