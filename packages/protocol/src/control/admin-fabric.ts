import {
  type Reader,
  readFlag,
  readList,
  readObject,
  readOneOf,
  readText,
  readWhole,
} from './admin-reader.ts'
import type { RouteSettings } from './route-reliability.ts'

export interface FabricStatus {
  readonly version: string
  readonly trustDomain: string
  readonly origin: string
  readonly ledger: { readonly size: number; readonly vkey: string }
  /** As `countersign up` and `countersign verify` print it. */
  readonly trustFingerprint: string
  readonly policyVersion: string
  readonly agents: number
  readonly memoryBytes: number
  readonly uptimeMs: number
}

const protocols = ['a2a', 'mcp', 'http', 'auto'] as const

export interface RouteView {
  readonly name: string
  readonly urls: readonly string[]
  readonly protocol: (typeof protocols)[number]
  readonly source: 'configured' | 'registered'
}

export interface RoutePutArgs {
  readonly name: string
  readonly upstream: string
  readonly protocol?: RouteView['protocol'] | undefined
  /** Those that differ from the defaults; an entry of the operator's file takes precedence. */
  readonly settings?: RouteSettings | undefined
}

/** The route as it is stored. */
export interface StoredRoute {
  readonly name: string
  readonly upstream: string
  readonly protocol: RouteView['protocol']
}

/** False when there was no configured route of that name. */
export interface RemovedRoute {
  readonly removed: boolean
}

export const readFabricStatus: Reader<FabricStatus> = readObject<FabricStatus>({
  version: readText,
  trustDomain: readText,
  origin: readText,
  ledger: readObject({ size: readWhole, vkey: readText }),
  trustFingerprint: readText,
  policyVersion: readText,
  agents: readWhole,
  memoryBytes: readWhole,
  uptimeMs: readWhole,
})

export const readRouteView: Reader<RouteView> = readObject<RouteView>({
  name: readText,
  urls: readList(readText),
  protocol: readOneOf(protocols),
  source: readOneOf(['configured', 'registered']),
})

export const readStoredRoute: Reader<StoredRoute> = readObject<StoredRoute>({
  name: readText,
  upstream: readText,
  protocol: readOneOf(protocols),
})

export const readRemovedRoute: Reader<RemovedRoute> = readObject<RemovedRoute>({
  removed: readFlag,
})
