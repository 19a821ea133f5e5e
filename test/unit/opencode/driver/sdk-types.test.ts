/**
 * Our requests and answers against the official SDK's types. The checks are made by the compiler (`tsc --noEmit`): what
 * runs here only names them.
 */
import type {
  GlobalHealthResponses,
  ProviderListResponse,
  SessionStatus as SdkStatus,
  Session,
  SessionCreateData,
  SessionMessagesResponses,
  SessionPromptAsyncData,
} from '@opencode-ai/sdk/v2';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import { promptWish } from '../../../../src/opencode/driver/prompt-words.js';
import type { FilePart, ModelRef, PermissionRule } from '../../../../src/opencode/driver-api.js';
import { readMessage } from '../../../../src/opencode/v1/messages.js';
import {
  type PromptWire,
  promptBody,
  type SessionBody,
} from '../../../../src/opencode/v1/request-bodies.js';
import type * as schemas from '../../../../src/opencode/v1/schemas.js';
import { readStatus } from '../../../../src/opencode/v1/status.js';

type PromptRequest = NonNullable<SessionPromptAsyncData['body']>;
type CreateRequest = NonNullable<SessionCreateData['body']>;
/** Every key of ours is one of the server's, which drops unknown ones without a word (facts, section 8). */
type Unknown<Ours, Theirs> = Exclude<keyof Ours, keyof Theirs>;

describe('what is sent', () => {
  it('is what the SDK sends', () => {
    expectTypeOf<PromptWire>().toExtend<PromptRequest>();
    expectTypeOf<SessionBody>().toExtend<CreateRequest>();
    expectTypeOf<ModelRef>().toEqualTypeOf<NonNullable<PromptRequest['model']>>();
    expectTypeOf<FilePart>().toExtend<PromptRequest['parts'][number]>();
    expectTypeOf<PermissionRule[]>().toExtend<NonNullable<CreateRequest['permission']>>();
  });

  it('has no key that the server would drop', () => {
    expectTypeOf<Unknown<PromptWire, PromptRequest>>().toBeNever();
    expectTypeOf<Unknown<SessionBody, CreateRequest>>().toBeNever();
    // The key that older recipes send: should the SDK learn it, the driver can.
    expectTypeOf<Extract<keyof PromptRequest, 'thinking'>>().toBeNever();
  });
});

describe('what comes back', () => {
  it('fits the schemas that read it', () => {
    expectTypeOf<Session>().toExtend<z.input<typeof schemas.session>>();
    expectTypeOf<GlobalHealthResponses[200]>().toExtend<z.input<typeof schemas.health>>();
    expectTypeOf<SessionMessagesResponses[200][number]['info']>().toExtend<
      z.input<typeof schemas.message>
    >();
    expectTypeOf<ProviderListResponse['connected']>().toEqualTypeOf<string[]>();
  });

  const NOW = 1_795_343_500_000;

  it('is read where the SDK says it is', () => {
    const retry: SdkStatus = { type: 'retry', attempt: 2, message: 'Rate limit', next: NOW + 500 };
    expect(readStatus(retry, NOW)).toEqual({
      type: 'retry',
      attempt: 2,
      message: 'Rate limit',
      nextInMs: 500,
    });
    const answered: SessionMessagesResponses[200][number] = {
      info: {
        id: 'msg_1',
        sessionID: 'ses_1',
        role: 'assistant',
        parentID: 'msg_0',
        modelID: 'm1',
        providerID: 'fake',
        mode: 'build',
        agent: 'build',
        path: { cwd: '/', root: '/' },
        cost: 0.5,
        tokens: { input: 1, output: 2, reasoning: 3, cache: { read: 0, write: 0 } },
        time: { created: 1, completed: 2 },
        finish: 'stop',
      },
      parts: [
        {
          id: 'prt_1',
          messageID: 'msg_1',
          sessionID: 'ses_1',
          type: 'text',
          text: 'yes',
          time: { start: 1, end: 2 },
        },
      ],
    };
    expect(readMessage(answered)).toMatchObject({
      model: 'fake/m1',
      text: 'yes',
      finish: 'stop',
      tokens: { input: 1, output: 2, reasoning: 3 },
    });
  });

  it('is sent with the context before the words', () => {
    const wish = promptWish({
      text: 'do it',
      mark: 'a-mark',
      model: { providerID: 'fake', modelID: 'm1' },
      agent: undefined,
      system: undefined,
      variant: undefined,
      context: [{ name: 'plan.md', text: 'first this\n' }],
      files: [{ type: 'file', mime: 'text/plain', url: 'data:text/plain;base64,' }],
      schema: { type: 'object' },
      queue: false,
    });
    const body: PromptRequest = promptBody(wish);
    expect(body).toEqual({
      parts: [
        { type: 'text', text: '<context name="plan.md">\nfirst this\n</context>' },
        { type: 'file', mime: 'text/plain', url: 'data:text/plain;base64,' },
        { type: 'text', text: 'do it', metadata: { 'opencode-watchdog': 'a-mark' } },
      ],
      model: { providerID: 'fake', modelID: 'm1' },
      format: { type: 'json_schema', schema: { type: 'object' } },
    });
  });
});
