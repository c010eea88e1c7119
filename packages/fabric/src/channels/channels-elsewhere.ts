import type { ChannelRecords } from './channel-records.ts'
import type { ChannelStore } from './channel-store.ts'

/** Rejects what a caller did not ask `elsewhere` about before. */
function served(): Promise<never> {
  return Promise.reject(new Error('the channels are served by another process'))
}

/** In a process that serves no channels: there are none, and none can be made. */
export const noChannelRecords: ChannelRecords = {
  folder: '',
  load: async () => [],
  commit: served,
  findDescriptor: served,
  appendKey: served,
  keyBytes: served,
  keys: served,
  shred: served,
  snapshot: served,
  close: async () => undefined,
}

export const noChannelStore: ChannelStore = {
  publish: served,
  lease: served,
  settle: served,
  dead: served,
  find: served,
  redrive: served,
  stats: async () => [],
  snapshot: served,
  close: async () => undefined,
}
