/**
 * `npm run demo`: a real opencode in a temporary home, under the real daemon, with a model provider that fails on
 * purpose. What it says is read from the daemon's log and the provider's own count. Exits with 0 if everything went as
 * told.
 */
import { ACTS } from './acts.js';
import { Narrator, NotAsTold, type Outcome } from './narrator.js';
import { Cleanups, setStage } from './stage.js';

/** The demo takes about a minute; a slow machine may take twice that. */
const LIMIT_MS = 170_000;

/** By convention, 128 plus the signal's number. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

class Interrupted extends Error {
  constructor(
    readonly signal: string,
    readonly exitCode: number,
  ) {
    super(`interrupted by ${signal}`);
  }
}

const narrator = new Narrator(process.stdout, process.env);
const cleanups = new Cleanups();
const outcomes: Outcome[] = [];
const end = new AbortController();
let isPlaying = false;

async function play(): Promise<void> {
  narrator.say(
    'opencode-watchdog, shown on a real opencode under the real daemon. The model provider is a fake that fails',
    'on purpose, so no key is needed. All of it lives in a temporary folder, and Ctrl-C ends it at any moment.',
    "Indented lines are the daemon's own log; sessions are called by their titles there, instead of their ids.",
    '',
  );
  const stage = await setStage(cleanups, (line) => narrator.log(line), end.signal);
  isPlaying = true;
  for (const act of ACTS) {
    end.signal.throwIfAborted();
    outcomes.push(await act(stage, narrator));
  }
}

/** Settles with whichever comes first: the play's end, or a reason to end it early. */
function playOrStop(): Promise<void> {
  const stopped = new Promise<never>((_, reject) => {
    end.signal.addEventListener('abort', () => reject(end.signal.reason), { once: true });
  });
  return Promise.race([play(), stopped]);
}

function tellEnd(error: unknown): number {
  if (error instanceof Interrupted) {
    narrator.say(`\n${error.signal}: stopping the daemon and removing the temporary folder.`);
    return error.exitCode;
  }
  if (outcomes.length > 0) narrator.summary(outcomes);
  if (error === undefined) {
    narrator.say('\nAll four went as told.');
    return 0;
  }
  const where = isPlaying ? `In act ${outcomes.length + 1}` : 'Before the first act';
  const what = error instanceof NotAsTold ? `this is not so: ${error.message}` : String(error);
  narrator.problem(`\nNot all went as told. ${where}, ${what}`);
  return 1;
}

async function main(): Promise<number> {
  if (process.platform !== 'linux') {
    narrator.problem(
      'The demo runs on Linux only: it reads /proc to prove that it leaves nothing behind.',
    );
    return 1;
  }
  for (const [signal, exitCode] of Object.entries(SIGNALS)) {
    process.on(signal, () => end.abort(new Interrupted(signal, exitCode)));
  }
  // Whatever fails, what was started must be stopped.
  process.on('uncaughtException', (error) => end.abort(error));
  // The reader may hang up (`npm run demo | head`): the demo then stops and cleans up in silence.
  process.stdout.on('error', () => end.abort(new Interrupted('SIGHUP', SIGNALS.SIGHUP)));
  setTimeout(
    () => end.abort(new Error(`the demo is not over after ${LIMIT_MS / 1000} s`)),
    LIMIT_MS,
  ).unref();

  let code: number;
  try {
    code = await playOrStop().then(() => tellEnd(undefined), tellEnd);
  } catch (error) {
    code = 1;
    narrator.problem(String(error));
  }
  narrator.mute();
  const problems = await cleanups.run();
  for (const problem of problems) narrator.problem(`Cleaning up: ${String(problem)}`);
  return problems.length > 0 && code === 0 ? 1 : code;
}

// Not `process.exitCode`: an interrupted act may still be waiting for something.
process.exit(await main());
