/** Reads a small file, or says in one phrase what would have been right. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { codeOf, fileProblem } from './file-problem.js';

export function readTextFile(
  path: string,
  maxBytes: number,
): { text: string } | { problem: string } {
  const read = readSmallFile(path, maxBytes);
  return 'bytes' in read ? decode(read.bytes) : read;
}

export function readSmallFile(
  path: string,
  maxBytes: number,
): { bytes: Buffer } | { problem: string } {
  let fd: number;
  try {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return { problem: `a file that can be read, but ${reasonOf(error)}` };
  }
  try {
    return bytesOf(fd, maxBytes);
  } finally {
    closeSync(fd);
  }
}

/** The same for a file that the caller has opened and closes. */
export function readOpenFile(fd: number, maxBytes: number): { text: string } | { problem: string } {
  const read = bytesOf(fd, maxBytes);
  return 'bytes' in read ? decode(read.bytes) : read;
}

function bytesOf(fd: number, maxBytes: number): { bytes: Buffer } | { problem: string } {
  try {
    if (!fstatSync(fd).isFile()) return { problem: 'a regular file' };
    const bytes = readUpTo(fd, maxBytes + 1);
    if (bytes.length > maxBytes) return { problem: `a file of at most ${maxBytes / 1024} KiB` };
    return { bytes };
  } catch (error) {
    return { problem: `a file that can be read, but ${reasonOf(error)}` };
  }
}

/** Reads to the end instead of trusting the size that the file reports: files of /proc report 0. */
function readUpTo(fd: number, limit: number): Buffer {
  const buffer = Buffer.alloc(limit);
  let length = 0;
  while (length < limit) {
    const read = readSync(fd, buffer, length, limit - length, null);
    if (read === 0) break;
    length += read;
  }
  return buffer.subarray(0, length);
}

function decode(bytes: Buffer): { text: string } | { problem: string } {
  if (bytes.includes(0)) return { problem: 'text, but the file is binary' };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { problem: 'text in UTF-8' };
  }
}

function reasonOf(error: unknown): string {
  return fileProblem(error) ?? `reading it failed (${codeOf(error) || 'no reason given'})`;
}
