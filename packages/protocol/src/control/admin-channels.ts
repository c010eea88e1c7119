import { type Reader, readFlag, readList, readObject, readText, readWhole } from './admin-reader.ts'

/** A channel with the counts of what it stores. */
export interface ChannelView {
  readonly name: string
  /** Agents, ascending. */
  readonly members: readonly string[]
  /** One more with every change of the parties that can open what is sealed. */
  readonly epoch: number
  /** The oldest epoch in which a message is accepted. */
  readonly floor: number
  readonly messages: number
  readonly bytes: number
  readonly dead: number
  readonly lastOffset: number
}

/** The record of a channel after its members changed. */
export interface ChannelChange {
  readonly name: string
  readonly members: readonly string[]
  readonly epoch: number
  readonly floor: number
  /** The sealing suites that its members share. */
  readonly suites: readonly number[]
  readonly bounds: ChannelBoundsView
  readonly createdAt: number
}

export interface ChannelBoundsView {
  readonly messagesMax: number
  readonly bytesMax: number
  readonly messageBytesMax: number
  readonly attemptsMax: number
  readonly dedupMs: number
  readonly retentionMs: number
}

export interface ChannelMembersArgs {
  readonly name: string
  readonly members: readonly string[]
}

/** A message that a group of consumers could not process. */
export interface DeadLetterView {
  readonly channel: string
  readonly group: string
  readonly offset: number
  readonly messageId: string
  readonly attempts: number
  readonly reason: string
  readonly at: number
}

export interface RedriveArgs {
  readonly name: string
  readonly group: string
  readonly offset: number
}

/** False when there is no dead letter at that offset. */
export interface Redriven {
  readonly redriven: boolean
}

export const readChannelView: Reader<ChannelView> = readObject<ChannelView>({
  name: readText,
  members: readList(readText),
  epoch: readWhole,
  floor: readWhole,
  messages: readWhole,
  bytes: readWhole,
  dead: readWhole,
  lastOffset: readWhole,
})

export const readChannelChange: Reader<ChannelChange> = readObject<ChannelChange>({
  name: readText,
  members: readList(readText),
  epoch: readWhole,
  floor: readWhole,
  suites: readList(readWhole),
  bounds: readObject<ChannelBoundsView>({
    messagesMax: readWhole,
    bytesMax: readWhole,
    messageBytesMax: readWhole,
    attemptsMax: readWhole,
    dedupMs: readWhole,
    retentionMs: readWhole,
  }),
  createdAt: readWhole,
})

export const readDeadLetter: Reader<DeadLetterView> = readObject<DeadLetterView>({
  channel: readText,
  group: readText,
  offset: readWhole,
  messageId: readText,
  attempts: readWhole,
  reason: readText,
  at: readWhole,
})

export const readRedriven: Reader<Redriven> = readObject<Redriven>({ redriven: readFlag })
