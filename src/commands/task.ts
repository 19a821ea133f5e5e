/**
 * One prompt as a batch file and the MCP tools describe it: its keys, their checks, and the driver's options that they
 * become.
 */
import * as z from 'zod';
import { missingUnit, parseDuration } from '../config/units.js';
import { isId } from '../lib/id.js';
import { LONGEST_MS } from '../opencode/driver/limits.js';
import type { PromptOptions } from '../opencode/driver/types.js';
import { directoryOf } from './prompt-options.js';

const model = z.union([
  z.string(),
  z.strictObject({ providerID: z.string(), modelID: z.string() }),
]);

/** `90s`, `5m`; becomes ms. */
export const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const ms = missingUnit(value) === undefined ? parseDuration(value) : undefined;
  if (ms !== undefined && ms > 0 && ms <= LONGEST_MS) return ms;
  context.addIssue(`expected ${missingUnit(value) ?? 'a duration like 90s, 5m or 500ms'}`);
  return z.NEVER;
});

export const sessionName = z.string().refine(isId, 'expected a session id such as ses_6f0a1b2c');

/** Names a task among others. */
export const taskID = z.union([z.string().min(1), z.number()]).transform(String);

/** The keys that a task has, wherever it is written. */
export const taskFields = {
  prompt: z.string().min(1).describe('what is asked'),
  model: model.optional().describe("provider/model; else opencode's own choice"),
  fallback: z
    .array(model)
    .optional()
    .describe('tried in turn, in new sessions, when a model is down'),
  variant: z.string().optional().describe("one of the model's variants"),
  thinking: z
    .strictObject({
      type: z.string().optional(),
      budget_tokens: z.number().int().positive().optional(),
    })
    .optional()
    .describe('mapped to a variant of the model that has a budget, else said to be ignored'),
  agent: z.string().optional().describe("one of opencode's agents"),
  system: z.string().optional().describe('further system text'),
  schema: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('a JSON schema: the answer has its form, and is in structured'),
  title: z.string().optional().describe('of the new session'),
  directory: z
    .string()
    .optional()
    .describe("the project, an absolute path on the server's machine; else its working directory"),
  timeout: duration.optional().describe('the run is aborted after this long: "90s", "5m"'),
  deadline: duration.optional().describe('over all tries together: "10m"'),
  max_steps: z.number().int().positive().optional().describe('model requests that it may make'),
  max_attempts: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("given up when opencode's retry counter reaches this (5)"),
  allow_empty: z.boolean().optional().describe('an answer without text is no failure'),
  allow_truncated: z.boolean().optional().describe('an answer that was cut is no failure'),
  keep: z.boolean().optional().describe('the session is not deleted'),
  parent: sessionName.optional().describe('the new session is a child of this one'),
  from_session: sessionName
    .optional()
    .describe('the last answer of this session goes before the prompt'),
};

type Task = z.infer<z.ZodObject<typeof taskFields>>;

export function optionsOf(task: Task): PromptOptions {
  const {
    prompt,
    timeout,
    deadline,
    max_steps: maxSteps,
    max_attempts: maxAttempts,
    allow_empty: allowEmpty,
    allow_truncated: allowTruncated,
    parent,
    from_session: fromSession,
    directory,
    ...same
  } = task;
  return {
    prompt,
    ...same,
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(deadline !== undefined && { deadlineMs: deadline }),
    ...(maxSteps !== undefined && { maxSteps }),
    ...(maxAttempts !== undefined && { maxAttempts }),
    ...(allowEmpty !== undefined && { allowEmpty }),
    ...(allowTruncated !== undefined && { allowTruncated }),
    ...(parent !== undefined && { parentID: parent }),
    ...(fromSession !== undefined && { fromSession }),
    ...(directory !== undefined && { directory: directoryOf(directory) }),
  };
}
