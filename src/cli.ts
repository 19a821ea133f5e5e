#!/usr/bin/env node
/** The command's entry: what must be said to V8 before anything else is loaded, then `main.ts`. */
import './runtime.js';

const { main } = await import('./main.js');
process.exitCode = await main(process.argv.slice(2));
