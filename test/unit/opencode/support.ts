/** A clock that only tests move, shared by the unit tests of src/opencode. */
import { FakeClock, settle } from '../../support/fake-clock.js';

export { settle };

/** Its wall clock can be moved by itself, as a clock step does. */
export class ManualClock extends FakeClock {
  epochOffset = 1_700_000_000_000;

  constructor() {
    super(1_000);
  }

  override epoch(): number {
    return this.now() + this.epochOffset;
  }
}
