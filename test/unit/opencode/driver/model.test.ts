/** How a model is named, and what a thinking budget means for it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DriverError } from '../../../../src/opencode/driver/error.js';
import {
  checkVariant,
  chooseThinking,
  type KnownModel,
  modelName,
  parseModel,
} from '../../../../src/opencode/driver/model.js';

describe('a model spec', () => {
  it('is provider/model, where the model may have slashes of its own', () => {
    expect(parseModel('openrouter/meta/llama-3')).toEqual({
      providerID: 'openrouter',
      modelID: 'meta/llama-3',
    });
  });

  it('may be the object that opencode takes', () => {
    const ref = { providerID: 'fake', modelID: 'm1' };
    expect(parseModel(ref)).toEqual(ref);
  });

  it.each(['m1', '', '/m1', 'fake/', 'fake /m1', 'fake/m 1', 3, null, {}, { providerID: 'fake' }])(
    '%j is none, and the error shows the right form',
    (spec) => {
      expect(() => parseModel(spec)).toThrow(DriverError);
      expect(() => parseModel(spec)).toThrow('"provider/model"');
    },
  );

  it('reads back what it names, whatever the ids', () => {
    const word = fc.stringMatching(/^[a-z0-9.:@-]{1,12}$/);
    fc.assert(
      fc.property(word, fc.array(word, { minLength: 1, maxLength: 3 }), (providerID, rest) => {
        const ref = { providerID, modelID: rest.join('/') };
        expect(parseModel(modelName(ref))).toEqual(ref);
      }),
    );
  });
});

describe('a variant', () => {
  it('that the model lacks is an error, because opencode would ignore it', () => {
    const model: KnownModel = { id: 'fake/m1', variants: { low: {}, high: {} } };
    expect(() => checkVariant(model, 'low')).not.toThrow();
    expect(() => checkVariant(model, 'max')).toThrow('it has low, high');
    expect(() => checkVariant(model, 'toString')).toThrow(DriverError);
    expect(() => checkVariant({ id: 'fake/m1', variants: {} }, 'max')).toThrow('it has none');
  });
});

describe('a thinking budget', () => {
  const anthropic: KnownModel = {
    id: 'anthropic/claude',
    variants: {
      high: { thinking: { type: 'enabled', budgetTokens: 16_000 } },
      max: { thinking: { type: 'enabled', budgetTokens: 31_999 } },
    },
  };
  const pick = (tokens: number | undefined, model: KnownModel | undefined = anthropic) =>
    chooseThinking(tokens === undefined ? {} : { budget_tokens: tokens }, model).variant;

  it('takes the largest variant that is not above it, else the smallest', () => {
    expect([1, 16_000, 31_998, 31_999, 1e6, undefined].map((tokens) => pick(tokens))).toEqual([
      'high',
      'high',
      'high',
      'max',
      'max',
      'high',
    ]);
  });

  it("reads Google's budgets, too", () => {
    const variants = { max: { thinkingConfig: { thinkingBudget: 24_576 } } };
    expect(pick(30_000, { id: 'google/gemini', variants })).toBe('max');
  });

  it('is said to be ignored where only efforts or nothing can be chosen', () => {
    const efforts = { id: 'openai/gpt', variants: { low: { reasoningEffort: 'low' }, odd: null } };
    const choice = chooseThinking({ budget_tokens: 9 }, efforts);
    expect(choice).toEqual({
      says: expect.stringMatching(/is ignored.*variants instead: low, odd/),
    });
    expect(chooseThinking({ budget_tokens: 9 }, { id: 'a/b', variants: {} }).says).toMatch(
      /ignored.*no variants/,
    );
    expect(chooseThinking({ budget_tokens: 9 }, undefined).says).toContain('is ignored');
    expect(chooseThinking({ type: 'disabled' }, anthropic)).toEqual({
      says: expect.stringContaining('ignored'),
    });
  });
});
