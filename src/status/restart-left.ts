/** How a restart that was told of ends: it is made, it fails, a pause leaves it, or nobody sees its end. */
import type { TelemetryRecord } from '../telemetry/logger.js';

/** Whether a pause left the restart that the last `server.restarting` told of. (A dry run tells of none.) */
export function leavesRestart(
  record: TelemetryRecord,
): record is Extract<TelemetryRecord, { event: 'act.skipped' }> {
  if (record.event !== 'act.skipped') return false;
  return record.fields.act === 'restart' && record.fields.because === 'paused';
}

export interface RestartEnd {
  tookMs?: number;
  error?: string;
  /** Its daemon ended before it. */
  endUnseen?: true;
}

export function isUnderWay({ tookMs, error, endUnseen }: RestartEnd): boolean {
  return tookMs === undefined && error === undefined && endUnseen === undefined;
}
