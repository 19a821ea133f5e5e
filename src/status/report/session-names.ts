/** What sessions are called, according to the lines read so far. */
import { basename } from 'node:path';

export interface SessionName {
  id: string;
  title?: string;
  /** The last part of its directory. */
  project?: string;
  directory?: string;
  parentID?: string;
}

export class Sessions {
  /** One object per session, so that a title that is learned later shows for the session's earlier lines too. */
  readonly #names = new Map<string, SessionName>();

  take(fields: Readonly<Record<string, unknown>>): void {
    const { sessionID, title, directory, parentID } = fields;
    if (typeof sessionID !== 'string') return;
    const name = this.name(sessionID);
    if (typeof title === 'string' && title !== '') name.title = title;
    if (typeof parentID === 'string') name.parentID = parentID;
    if (typeof directory === 'string' && directory !== '') {
      name.directory = directory;
      name.project = basename(directory) || directory;
    }
  }

  name(id: string): SessionName {
    let name = this.#names.get(id);
    if (name === undefined) {
      name = { id };
      this.#names.set(id, name);
    }
    return name;
  }
}
