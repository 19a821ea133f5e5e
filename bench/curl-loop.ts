/**
 * What people use today: a shell loop that asks for health every 5 s with a timeout of 3 s, and kills the server if the
 * answer is late.
 */
import { type ChildProcess, spawn } from 'node:child_process';

/** The script starts the server itself, so that it knows which process to kill. With DRY=1 it only prints `late`. */
const SCRIPT = `
healthy() { curl -sf -m 3 -o /dev/null "$URL/global/health"; }
start() { "$@" >/dev/null 2>&1 & pid=$!; until healthy; do sleep 0.1; done; echo "$pid"; }
[ -n "$DRY" ] || start "$@"
while :; do
  if ! healthy; then
    echo late
    if [ -z "$DRY" ]; then kill -9 "$pid"; wait "$pid"; start "$@"; fi
  fi
  sleep 5
done 2>/dev/null`;

export interface CurlLoop {
  child: ChildProcess;
  /** The pid of the server that it started last. */
  serverPid(): number | undefined;
  /** How often an answer was late. Each time the server was killed, or would have been. */
  late(): number;
}

export interface CurlLoopOptions {
  url: string;
  /** The server's command. Without it the loop only counts. */
  command?: readonly string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
}

/** The loop has a process group of its own: end it by killing `-child.pid`. */
export function startCurlLoop({ url, command, env, cwd }: CurlLoopOptions): CurlLoop {
  const child = spawn('bash', ['-c', SCRIPT, 'curl-loop', ...(command ?? [])], {
    env: { ...env, URL: url, DRY: command ? '' : '1' },
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const lines = () => said.split('\n').slice(0, -1);
  return {
    child,
    serverPid: () => {
      const pid = lines().findLast((line) => /^\d+$/.test(line));
      return pid === undefined ? undefined : Number(pid);
    },
    late: () => lines().filter((line) => line === 'late').length,
  };
}
