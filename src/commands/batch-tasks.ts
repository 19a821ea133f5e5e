/** Reads what `batch` is to do: tasks as NDJSON or YAML, and which of them an earlier batch has finished. */
import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { parse, YAMLError } from 'yaml';
import * as z from 'zod';
import { missingUnit, parseDuration } from '../config/units.js';
import { isId } from '../lib/id.js';
import { suggest } from '../lib/suggest.js';
import { readTextFile } from '../lib/text-file.js';
import type { BatchTask } from '../opencode/driver/batch.js';
import { DriverError } from '../opencode/driver/error.js';
import { LONGEST_MS } from '../opencode/driver/limits.js';
import { parseModel } from '../opencode/driver/model.js';
import { contextFile, directoryOf, filePart } from './prompt-options.js';
import { EXIT, ExitError } from './shared.js';

/** A file of tasks, and its results. At the limit: it is refused. */
export const MAX_BYTES = 64 * 1024 * 1024;

const model = z.union([
  z.string(),
  z.strictObject({ providerID: z.string(), modelID: z.string() }),
]);
const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const ms = missingUnit(value) === undefined ? parseDuration(value) : undefined;
  if (ms !== undefined && ms > 0 && ms <= LONGEST_MS) return ms;
  context.addIssue(`expected ${missingUnit(value) ?? 'a duration like 90s, 5m or 500ms'}`);
  return z.NEVER;
});
const sessionName = z.string().refine(isId, 'expected a session id such as ses_6f0a1b2c');
const task = z.strictObject({
  id: z
    .union([z.string().min(1), z.number()])
    .transform(String)
    .optional(),
  prompt: z.string().min(1),
  model: model.optional(),
  fallback: z.array(model).optional(),
  variant: z.string().optional(),
  thinking: z
    .strictObject({
      type: z.string().optional(),
      budget_tokens: z.number().int().positive().optional(),
    })
    .optional(),
  agent: z.string().optional(),
  system: z.string().optional(),
  title: z.string().optional(),
  directory: z.string().optional(),
  timeout: duration.optional(),
  deadline: duration.optional(),
  max_steps: z.number().int().positive().optional(),
  max_attempts: z.number().int().positive().optional(),
  allow_empty: z.boolean().optional(),
  allow_truncated: z.boolean().optional(),
  context: z.array(z.string()).optional(),
  files: z.array(z.string()).optional(),
  keep: z.boolean().optional(),
  /** The task's session is a child of this one. */
  parent: sessionName.optional(),
  /** The last answer of this session goes before the prompt. */
  from_session: sessionName.optional(),
});
const KEYS = Object.keys(task.shape);

export interface PlannedTask extends BatchTask {
  id: string;
  /** Changes when the task does: a finished task that says something else now is done again. */
  digest: string;
}

/** @throws ExitError with code 2, naming the line or task */
export function readTasks(path: string, text: string): PlannedTask[] {
  const isYaml = ['.yaml', '.yml'].includes(extname(path).toLowerCase());
  const raw = isYaml ? yamlTasks(path, text) : ndjsonTasks(path, text);
  const tasks = raw.map(({ where, value }, index) => planned(value, where, index));
  const seen = new Set<string>();
  for (const { id } of tasks) {
    if (seen.has(id)) throw new ExitError(EXIT.usage, `${path}: two tasks have the id "${id}"`);
    seen.add(id);
  }
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

function yamlTasks(path: string, text: string): RawTask[] {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    if (!(error instanceof YAMLError)) throw error;
    throw new ExitError(EXIT.usage, `${path}: ${error.message}`);
  }
  if (!Array.isArray(value)) throw new ExitError(EXIT.usage, `${path}: expected a list of tasks`);
  return value.map((each: unknown, index) => ({
    where: `${path}, task ${index + 1}`,
    value: each,
  }));
}

function planned(value: unknown, where: string, index: number): PlannedTask {
  const parsed = task.safeParse(value);
  if (!parsed.success) {
    throw new ExitError(EXIT.usage, `${where}: ${parsed.error.issues.map(issueWords).join('; ')}`);
  }
  const {
    timeout,
    deadline,
    max_steps: maxSteps,
    max_attempts: maxAttempts,
    allow_empty: allowEmpty,
    allow_truncated: allowTruncated,
    parent,
    from_session: fromSession,
    context,
    files,
    directory,
    id = String(index + 1),
    ...rest
  } = parsed.data;
  try {
    for (const each of [rest.model, ...(rest.fallback ?? [])]) {
      if (each !== undefined) parseModel(each);
    }
  } catch (error) {
    if (error instanceof DriverError) throw new ExitError(EXIT.usage, `${where}: ${error.message}`);
    throw error;
  }
  return {
    ...rest,
    id,
    digest: createHash('sha256').update(JSON.stringify(parsed.data)).digest('hex').slice(0, 16),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(deadline !== undefined && { deadlineMs: deadline }),
    ...(maxSteps !== undefined && { maxSteps }),
    ...(parent !== undefined && { parentID: parent }),
    ...(fromSession !== undefined && { fromSession }),
    ...(maxAttempts !== undefined && { maxAttempts }),
    ...(allowEmpty !== undefined && { allowEmpty }),
    ...(allowTruncated !== undefined && { allowTruncated }),
    ...(directory !== undefined && { directory: directoryOf(directory) }),
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

/** `id digest` of every task that an earlier batch has finished well; what failed is tried again. */
export function finishedTasks(text: string): Set<string> {
  const finished = new Set<string>();
  for (const line of text.split('\n')) {
    // A line that was cut when the earlier batch was killed is no result.
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
