/** What is said to V8 before anything else is loaded. */
import { expectToIdle } from './lib/engine.js';

expectToIdle();
