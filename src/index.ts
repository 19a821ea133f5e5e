/** The library face of opencode-watchdog. */
export {};
