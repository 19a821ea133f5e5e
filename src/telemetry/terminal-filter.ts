/**
 * Selects the events that a person at a terminal sees: changes, one line for each thing that the watchdog did, one
 * summary a minute. The JSON log and every subscriber get all events.
 */

export class TerminalFilter {
  /** A restart is under way: its own line will say that the server is healthy again. */
  #restarting = false;

  /** To be called once for each event, in order. */
  shows(event: string, fields: object): boolean {
    switch (event) {
      case 'session.health':
        return isNews(fields);
      case 'session.aborting':
        // `session.stuck` has said why, and `session.aborted` will say how it went.
        return 'try' in fields && fields.try !== 1;
      case 'server.restarting':
        this.#restarting = true;
        return true;
      case 'server.restarted':
      case 'server.restart_failed':
        this.#restarting = false;
        return true;
      case 'act.skipped':
        // A pause or a dry run left the restart.
        if ('act' in fields && fields.act === 'restart') this.#restarting = false;
        return true;
      case 'server.starting':
      case 'server.healthy':
        return !this.#restarting;
      default:
        return true;
    }
  }
}

/** True for a change of health that has no event of its own. Stuck, wedged, waiting and the end of a run have one. */
function isNews(fields: object): boolean {
  if (!('previous' in fields) || fields.previous === undefined || !('health' in fields))
    return false;
  const { health, previous } = fields;
  const told = ['stuck', 'wedged', 'waiting'];
  return !told.includes(String(health)) && !told.includes(String(previous)) && health !== 'idle';
}
