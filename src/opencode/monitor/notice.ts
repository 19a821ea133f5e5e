/** How the monitor reports about itself, rather than about a session or the server's health. */
export type NoticeLevel = 'debug' | 'info' | 'warn' | 'error';

/** A notice that would repeat is given at most this often. */
export const NOTICE_EVERY_MS = 60_000;

/**
 * Notices kept of one run of the driver. One for each failed attempt and each request. At the limit: further ones are
 * not kept.
 */
export const MAX_NOTICES = 200;

export type Notice = (
  level: NoticeLevel,
  message: string,
  fields: Readonly<Record<string, unknown>>,
) => void;
