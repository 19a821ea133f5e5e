/**
 * Runs chaos in a network and a mount table of its own (Linux namespaces), so that ports, NAT rules and small disks
 * affect nobody else and vanish with us, whatever happens. Works for root, and for other users if the kernel allows
 * user namespaces.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

/** Set in the process inside the namespaces. */
const MARK = 'CHAOS_ISOLATED';
const SETUP =
  'ip link set lo up && mount --make-rprivate / && iptables -t nat -L OUTPUT -n >/dev/null';

export const isIsolated = (): boolean => process.env[MARK] === '1';

/** The arguments of unshare(1) that give us what we need. Undefined if none do. */
function unshareArgs(): string[] | undefined {
  const asRoot = process.geteuid?.() === 0 ? [] : ['--map-root-user'];
  const args = [...asRoot, '--net', '--mount'];
  const probe = spawnSync('unshare', [...args, 'sh', '-c', SETUP], { stdio: 'ignore' });
  return probe.status === 0 ? args : undefined;
}

/** Runs this same command again inside. Undefined if that is not possible. */
export async function rerunIsolated(): Promise<number | undefined> {
  const args = unshareArgs();
  if (args === undefined) return undefined;
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...args, 'sh', '-c', `${SETUP} && exec "$@"`, 'sh', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => child.kill(signal));
  }
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

/** Redirects connections to `port` to `proxy`, except those from `from`: the proxy's own, and ours. */
export function redirect(port: number, proxy: number, from: string): void {
  const rule = `-t nat -A OUTPUT -p tcp -d 127.0.0.1 --dport ${port} ! -s ${from} -j REDIRECT --to-ports ${proxy}`;
  const { status, stderr } = spawnSync('iptables', rule.split(' '), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`iptables ${rule}: ${stderr}`);
}
