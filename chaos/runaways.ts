/** Sessions that are busy and lively, and would never end. Each must be ended by its own limit in `loop`. */

/** At least 200 characters: shorter passages do not count as a loop (contract, `loop.maxTextRepeats`). */
const PASSAGE =
  'I will now look at the configuration once more, since the error names a key that the schema does not have. ' +
  'The schema is written in one place, and whatever reads it goes through the loader, so that is where to begin. ';

/** A call that costs the machine little, made a few times a second. */
const CALL = 'wait=200 bash {"command":"true","description":"Runs the test command"}';

/** Enough for ten or twelve steps on a busy machine. */
const STEPS_MS = 30_000;
/** A text that has streamed for 60 s is sampled 20 s later, then every 60 s (src/opencode/text-sampler.ts). */
const SAMPLES_MS = 145_000;

const looping = { fate: 'stuck', reasons: ['loop'] } as const;

/** A model whose context is filled by one step, for opencode.json's `provider.fake.models`. */
export const RUNAWAY_MODELS = {
  tight: { name: 'tight', limit: { context: 60_000, output: 1_000 } },
};

export const RUNAWAYS = {
  'runaway-calls': {
    ...looping,
    limit: () => STEPS_MS,
    prompt: () => `[[calls forever ${CALL}]]`,
  },
  'runaway-empty': { ...looping, limit: () => STEPS_MS, prompt: () => '[[nothing-forever]]' },
  'runaway-compactions': {
    ...looping,
    model: 'tight',
    limit: () => STEPS_MS,
    prompt: () => `[[calls forever full=1 ${CALL}]]`,
  },
  'runaway-text': {
    ...looping,
    limit: () => SAMPLES_MS,
    prompt: () => `[[say forever 250 ${PASSAGE}]]`,
  },
} as const;
