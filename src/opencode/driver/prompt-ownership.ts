/**
 * Knows which prompts and messages of a session are ours, and which belong to somebody else who prompts it, too. It
 * learns that from events and from the transcript. Pure.
 */
import { BoundedSet } from '../../lib/bounded.js';
import {
  isPrompt,
  newestRun,
  type OwnWords,
  outcomeOf,
  ownPrompt,
  type RunOutcome,
  runOf,
} from './run-outcome.js';
import type { Message, RunError } from './transcript.js';

/**
 * Messages of others in one session of the driver. They must be told apart from ours. At the limit: the oldest is
 * forgotten.
 */
export const MAX_FOREIGN = 1_000;

export interface OwnPrompt {
  /** What was sent; absent if somebody else's prompt is followed. */
  prompt?: OwnWords;
  /** The id of the last message before the prompt; if it is unknown, the newest run is meant. */
  since?: string;
  /** The prompt was sent behind whatever the session is working on, which is somebody else's. */
  isQueued?: boolean;
}

/**
 * Whose an answer is. `unplaced`: it is heard as ours, but only the transcript can say so. This is returned once for
 * each prompt.
 */
export type AnswerOwner = 'ours' | 'foreign' | 'unplaced';

export class PromptOwnership {
  readonly #sent: OwnPrompt;
  /** The id of our prompt, as the server gave it: an id from our own clock would confuse opencode 1.x. */
  #own: string | undefined;
  /** Prompts of others, and the answers to them. */
  readonly #foreign = new BoundedSet<string>(MAX_FOREIGN);
  /** Our prompt, and those that opencode itself wrote for its run. */
  readonly #ownPrompts = new BoundedSet<string>(MAX_FOREIGN);
  /** Prompts that answers name, and that no transcript has shown yet to be ours or somebody else's. */
  readonly #unplaced = new BoundedSet<string>(MAX_FOREIGN);
  /** Somebody else prompts the session, too, so it may go on when our prompt is answered. */
  #isShared = false;
  /** A prompt of somebody else was found behind ours. */
  #isFollowed = false;
  /** An answer to such a prompt was begun. */
  #isPassed = false;
  #isBehind: boolean;
  /** An answer to ours was heard or read. A transcript from before it, which is read late, changes nothing any more. */
  #isAnswered = false;

  constructor(sent: OwnPrompt) {
    this.#sent = sent;
    this.#isBehind = sent.isQueued === true;
  }

  /** Nothing has answered our prompt yet, so what the session does is for somebody else. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  /** Whether the server has named our prompt. */
  get isNamed(): boolean {
    return this.#own !== undefined;
  }

  /** Whether our prompt is among these messages. It need not have been heard. */
  isShownIn(messages: readonly Message[]): boolean {
    const { prompt, since } = this.#sent;
    return prompt === undefined || ownPrompt(messages, prompt, since) !== undefined;
  }

  /** Whether the session may be at work for somebody else when ours is answered. */
  get mayGoOn(): boolean {
    return this.#isBehind || this.#isShared || this.#unplaced.size > 0;
  }

  /** Learns from a prompt's mark whether it is ours. */
  hearPrompt(messageID: string, mark: string): void {
    const { prompt } = this.#sent;
    if (prompt === undefined) return;
    if (mark === prompt.mark) this.#own = messageID;
    else {
      this.#foreign.add(messageID);
      this.#isShared ||= this.#own !== undefined;
    }
  }

  /** `endsWait`: the answer shows that the run before ours is over. */
  hearAnswer(
    messageID: string,
    parentID: string | undefined,
  ): { owner: AnswerOwner; endsWait: boolean } {
    if (parentID !== undefined && this.#foreign.has(parentID)) {
      this.#foreign.add(messageID);
      return { owner: 'foreign', endsWait: false };
    }
    const isOwn = parentID !== undefined && parentID === this.#own;
    const endsWait = isOwn && this.#isBehind;
    if (isOwn) this.#noteAnswered();
    if (this.isForeign(messageID)) return { owner: 'foreign', endsWait };
    const isPlaced = parentID === undefined || isOwn || !this.#noteUnplaced(parentID);
    return { owner: isPlaced ? 'ours' : 'unplaced', endsWait };
  }

  #noteAnswered(): void {
    this.#isAnswered = true;
    this.#isBehind = false;
  }

  /** Whether the message is another prompt, or the answer to one. While ours waits, every message is, and stays so. */
  isForeign(messageID: string): boolean {
    if (this.#isBehind) this.#foreign.add(messageID);
    return this.#foreign.has(messageID);
  }

  /**
   * Notes a prompt that may be opencode's own after a compaction, or somebody's without a mark. Returns whether it is
   * new.
   */
  #noteUnplaced(promptID: string): boolean {
    if (this.#own === undefined || this.#ownPrompts.has(promptID)) return false;
    const isNew = !this.#unplaced.has(promptID);
    this.#unplaced.add(promptID);
    return isNew;
  }

  /**
   * What the transcript says about our own run. `error`: what was heard to fail in the session. `endsWait`: the
   * transcript shows that the run before ours is over.
   */
  outcomeOf(
    messages: readonly Message[],
    error: RunError | undefined,
  ): { outcome: RunOutcome; endsWait: boolean } {
    const wasBehind = this.#isBehind;
    // What failed while ours waited is the run before ours.
    const outcome = this.#readOutcome(messages, wasBehind ? undefined : error);
    return { outcome, endsWait: wasBehind && !this.#isBehind };
  }

  #readOutcome(messages: readonly Message[], error: RunError | undefined): RunOutcome {
    const { since, prompt } = this.#sent;
    if (prompt === undefined) return outcomeOf(newestRun(messages, since));
    this.#own ??= ownPrompt(messages, prompt, since);
    if (this.#own === undefined) return { kind: 'nothing' };
    if (messages.some(({ parentID }) => parentID === this.#own)) this.#noteAnswered();
    else if (!this.#isAnswered && this.#isBeaten(messages)) this.#isBehind = true;
    else if (this.#isNotThere(messages)) return { kind: 'nothing' };
    const own = runOf(messages, this.#own);
    const outcome = outcomeOf(own.messages);
    const later = new Set(own.followers.map(({ id }) => id));
    this.#isShared ||= later.size > 0;
    // A message without content may be one of opencode's own that is not wholly written yet.
    this.#isFollowed = own.followers.some(({ text, files }) => text !== '' || files.length > 0);
    for (const id of own.prompts) this.#ownPrompts.add(id);
    for (const id of [...own.prompts, ...later]) this.#unplaced.delete(id);
    this.#isPassed = messages.some(({ parentID }) => parentID !== undefined && later.has(parentID));
    const isOpen =
      outcome.kind === 'stopped' || outcome.kind === 'nothing' || outcome.kind === 'cut';
    if (!isOpen || !this.#isPassed) return outcome;
    // A prompt that failed before its first answer may leave no trace (facts, section 14).
    if (outcome.kind === 'nothing' && error) return { kind: 'failed', error };
    return { kind: 'superseded' };
  }

  /** Whether somebody prompted after our last look and before us, and that prompt is being answered. */
  #isBeaten(messages: readonly Message[]): boolean {
    const { since } = this.#sent;
    const seen = since === undefined ? -1 : messages.findIndex(({ id }) => id === since);
    // Otherwise it is not known which of the prompts came after our look.
    if (since !== undefined && seen < 0) return false;
    const own = messages.findIndex(({ id }) => id === this.#own);
    const before = new Set(
      messages
        .slice(seen + 1, Math.max(0, own))
        .filter(isPrompt)
        .map(({ id }) => id),
    );
    return messages.some(({ parentID }) => parentID !== undefined && before.has(parentID));
  }

  /**
   * Whether the transcript comes from before our prompt. OpenCode 2 keeps a prompt out of it until its turn, so that all
   * that is there belongs to others. A prompt that is older than the messages that were read is another matter.
   */
  #isNotThere(messages: readonly Message[]): boolean {
    if (messages.some(({ id }) => id === this.#own)) return false;
    return this.#isBehind || messages.some(({ id }) => id === this.#sent.since);
  }

  /**
   * Whether ours has ended although the session is at work. Without a prompt behind ours, opencode itself goes on with
   * ours after a compaction. After a failure, only the answer to the next prompt shows that it does not.
   */
  isOver(outcome: RunOutcome): boolean {
    if (!this.#isFollowed) return false;
    const hasFailed = outcome.kind === 'failed' || outcome.kind === 'aborted';
    return isAnswered(outcome) || (hasFailed && this.#isPassed);
  }
}

/** If another prompt waits behind it, opencode goes on to that one as soon as the answer is complete. */
function isAnswered(outcome: RunOutcome): boolean {
  switch (outcome.kind) {
    case 'reply':
    case 'empty':
    case 'truncated':
      return outcome.message.completed !== undefined;
    case 'superseded':
      return true;
    case 'failed':
    case 'stopped':
    case 'aborted':
    case 'cut':
    case 'nothing':
      return false;
  }
}
