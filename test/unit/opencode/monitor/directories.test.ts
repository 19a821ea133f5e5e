/** Which directories are asked: only those that the server has an instance for. */
import { describe, expect, it } from 'vitest';
import {
  isDirectory,
  LiveDirectories,
  MAX_LIVE_DIRECTORIES,
  MAX_RECENT_DIRECTORIES,
  normaliseDirectory,
  RECENT_MS,
} from '../../../../src/opencode/monitor/directories.js';

const NOW = 1_700_000_000_000;

describe('live directories', () => {
  it("are the server's own, then the most recently heard", () => {
    const live = new LiveDirectories();
    live.setOwn('/own/');
    expect(live.heard('/a')).toBe(true);
    expect(live.heard('/b/')).toBe(true);
    expect(live.heard('/a/')).toBe(false);
    expect(live.heard('/own')).toBe(false);
    expect(live.all()).toEqual(['/own', '/a', '/b']);
    expect(live.has('/b/')).toBe(true);
  });

  it('lose a directory whose instance was disposed, never the own one', () => {
    const live = new LiveDirectories();
    live.setOwn('/own');
    live.heard('/a');
    live.disposed('/a/', 0);
    live.disposed('/own', 0);
    expect(live.all()).toEqual(['/own']);
  });

  it('keep a directory in which a session began to work before its dispose was heard', () => {
    const live = new LiveDirectories();
    live.heard('/a');
    live.works('ses_1', '/a/', 1_000);
    live.works('ses_2', '/a', 2_000);
    live.idle('ses_1');
    live.disposed('/a', 2_500);
    expect(live.all()).toEqual(['/a']);
    live.idle('ses_2');
    live.disposed('/a', 3_000);
    expect(live.all()).toEqual([]);
    live.heard('/a');
    live.works('ses_3', '/a', 3_000);
    live.works('ses_4', '/b', 90_000);
    live.disposed('/a', 90_000);
    expect(live.all()).toEqual([]);
  });

  it('are bounded: the one not heard of for longest goes', () => {
    const live = new LiveDirectories();
    for (let n = 0; n < MAX_LIVE_DIRECTORIES; n += 1) live.heard(`/d${n}`);
    live.heard('/d0');
    live.heard('/new');
    expect(live.all()).toHaveLength(MAX_LIVE_DIRECTORIES);
    expect(live.has('/d0')).toBe(true);
    expect(live.has('/d1')).toBe(false);
  });

  it('at attach are the most recent distinct ones of the last day', () => {
    const live = new LiveDirectories();
    const sessions = Array.from({ length: 100 }, (_, n) => ({
      directory: `/d${Math.floor(n / 2)}`,
      updated: NOW - n * 1_000,
    }));
    live.attach([...sessions, { directory: '/old', updated: NOW - RECENT_MS - 1 }, {}], NOW);
    expect(live.all()).toHaveLength(MAX_RECENT_DIRECTORIES);
    expect(live.all().slice(0, 2)).toEqual(['/d0', '/d1']);
    live.reset();
    live.attach([{ directory: '/old', updated: NOW - RECENT_MS - 1 }, { directory: '/x' }], NOW);
    expect(live.all()).toEqual([]);
  });

  it('are absolute paths in one spelling', () => {
    expect(['/', '/a', 'C:\\x', 'c:/x', '\\\\host\\share'].every(isDirectory)).toBe(true);
    expect(['global', '', 'a/b', undefined, 3].some(isDirectory)).toBe(false);
    expect(['/', '//', '/a//', 'C:\\x\\'].map(normaliseDirectory)).toEqual([
      '/',
      '/',
      '/a',
      'C:\\x',
    ]);
  });

  it('are read as fast with many slashes as with few', () => {
    // Milliseconds; were the time quadratic, the runner's limit would be passed.
    const slashes = '/'.repeat(2 ** 20);
    expect(normaliseDirectory(`${slashes}a${slashes}`)).toBe(`${slashes}a`);
    expect(normaliseDirectory(slashes)).toBe('/');
  });
});
