/** Reads what `batch` has to do: tasks as NDJSON, JSON or YAML, and which of them an earlier batch has finished. */
import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { isNode, isSeq, LineCounter, parseDocument } from 'yaml';
import * as z from 'zod';
import { suggest } from '../lib/suggest.js';
import { readSmallFile, readTextFile } from '../lib/text-file.js';
import type { BatchTask } from '../opencode/driver/batch.js';
import { DriverError } from '../opencode/driver/error.js';
import { parseModel } from '../opencode/driver/model.js';
import { contextFile, filePart } from './prompt-options.js';
import { EXIT, ExitError } from './shared.js';
import { optionsOf, taskFields, taskID } from './task.js';

/** A file of tasks, and its results. At the limit: it is refused. */
export const MAX_BYTES = 64 * 1024 * 1024;

const task = z.strictObject({
  id: taskID.optional(),
  ...taskFields,
  context: z.array(z.string()).optional(),
  files: z.array(z.string()).optional(),
});
const KEYS = Object.keys(task.shape);

export interface PlannedTask extends BatchTask {
  id: string;
  /** Changes with the task: a finished task whose content has changed is done again. */
  digest: string;
}

/** @throws ExitError with code 2, naming the line or task */
export function readTasks(path: string, text: string): PlannedTask[] {
  const raw = isList(path, text) ? listTasks(path, text) : ndjsonTasks(path, text);
  const seen = new Map<string, string>();
  const tasks = raw.map(({ where, value }, index) => {
    const task = planned(value, where, index);
    const other = seen.get(task.id);
    if (other !== undefined) {
      const says = `${where}: two tasks have the id "${task.id}"; the other: ${other}`;
      throw new ExitError(EXIT.usage, says);
    }
    seen.set(task.id, where);
    return task;
  });
  if (tasks.length === 0) throw new ExitError(EXIT.usage, `${path}: expected at least one task`);
  return tasks;
}

interface RawTask {
  where: string;
  value: unknown;
}

function ndjsonTasks(path: string, text: string): RawTask[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const where = `${path}, line ${index + 1}`;
    try {
      return [{ where, value: JSON.parse(line) as unknown }];
    } catch {
      throw new ExitError(
        EXIT.usage,
        `${where}: expected one JSON object a line, got ${line.slice(0, 80)}`,
      );
    }
  });
}

/** Whether it is YAML, by its name or its first item, or a JSON array. */
function isList(path: string, text: string): boolean {
  if (['.yaml', '.yml'].includes(extname(path).toLowerCase())) return true;
  return /^\s*(?:\[|- )/.test(text);
}

/** YAML's parser reads a JSON array as well, and knows each task's line. */
function listTasks(path: string, text: string): RawTask[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  if (error) throw new ExitError(EXIT.usage, `${path}: ${error.message}`);
  const { contents } = document;
  if (!isSeq(contents)) throw new ExitError(EXIT.usage, `${path}: expected a list of tasks`);
  return contents.items.map((item, index) => {
    const at = isNode(item) && item.range ? lines.linePos(item.range[0]).line : undefined;
    const where = at === undefined ? `task ${index + 1}` : `line ${at} (task ${index + 1})`;
    return { where: `${path}, ${where}`, value: isNode(item) ? item.toJS(document) : item };
  });
}

function planned(value: unknown, where: string, index: number): PlannedTask {
  const parsed = task.safeParse(value);
  if (!parsed.success) {
    throw new ExitError(EXIT.usage, `${where}: ${parsed.error.issues.map(issueWords).join('; ')}`);
  }
  const { context, files, id = String(index + 1), ...asked } = parsed.data;
  try {
    for (const each of [asked.model, ...(asked.fallback ?? [])]) {
      if (each !== undefined) parseModel(each);
    }
  } catch (error) {
    if (error instanceof DriverError) throw new ExitError(EXIT.usage, `${where}: ${error.message}`);
    throw error;
  }
  return {
    ...optionsOf(asked),
    id,
    digest: createHash('sha256').update(JSON.stringify(parsed.data)).digest('hex').slice(0, 16),
    ...(context && { context: context.map(contextFile) }),
    ...(files && { files: files.map(filePart) }),
  };
}

function issueWords(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .map((key) => `unknown key "${key}", did you mean "${suggest(key, KEYS)}"?`)
      .join('; ');
  }
  return `${issue.path.join('.') || 'the task'}: ${issue.message}`;
}

const result = z.object({ id: z.string(), task: z.string(), ok: z.literal(true) });

/** `id digest` of every task that has succeeded in an earlier batch. A task that failed is tried again. */
export function finishedTasks(text: string): Set<string> {
  const finished = new Set<string>();
  for (const line of text.split('\n')) {
    // A line that was cut off when the earlier batch was killed is no result.
    const parsed = result.safeParse(json(line));
    if (parsed.success) finished.add(`${parsed.data.id} ${parsed.data.task}`);
  }
  return finished;
}

function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** @throws ExitError with code 2 */
export function readInput(path: string): string {
  const read = readTextFile(path, MAX_BYTES);
  if ('text' in read) return read.text;
  throw new ExitError(EXIT.usage, `"${path}": expected ${read.problem}`);
}

/**
 * The results of an earlier batch. A batch that was killed may have cut its last line inside a character, or left zeros
 * after a crash of the machine: only that line is lost.
 * @throws ExitError with code 2
 */
export function readResults(path: string): string {
  const read = readSmallFile(path, MAX_BYTES);
  if ('bytes' in read) return read.bytes.toString('utf8');
  throw new ExitError(EXIT.usage, `"${path}": expected ${read.problem}`);
}
