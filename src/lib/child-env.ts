/** Which variables of the daemon's own environment a child process may inherit. */

/** Variables that are only for the daemon: a child that speaks to the service manager in our name would confuse it. */
const PRIVATE =
  /^(OPENCODE_WATCHDOG_.*|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)|LISTEN_(FDS|PID|FDNAMES)|CREDENTIALS_DIRECTORY|INVOCATION_ID|XPC_SERVICE_NAME|JOURNAL_STREAM)$/;
const PASSWORD = /^OPENCODE(_SERVER)?_PASSWORD$/;

/** For a server. It needs the password, which it is also given explicitly. */
export function serverEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return without(env, (name) => PRIVATE.test(name));
}

/** For the user's commands and hooks: they need neither the password nor where notifications go. */
export function commandEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return without(env, (name) => PRIVATE.test(name) || PASSWORD.test(name));
}

function without(env: NodeJS.ProcessEnv, isHidden: (name: string) => boolean): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isHidden(name)));
}
