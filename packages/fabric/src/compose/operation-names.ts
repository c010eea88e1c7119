import { a2aOperations, mcpMethods, WATCH_OPERATION } from '@countersign/protocol'
import { OPERATIONS } from '../admin/operations.ts'
import type { OperationNames } from '../policy/possible.ts'
import { METHODS } from '../protocols/reading/head.ts'
import { mcpSubjects } from '../protocols/reading/operations.ts'

const administered = (action: 'read' | 'administer'): readonly string[] =>
  Object.entries(OPERATIONS).flatMap(([name, each]) => (each.action === action ? [name] : []))

const a2a = [...new Set(a2aOperations.values()), 'GetAgentCard', 'unread']
const mcp = [...mcpMethods, 'notifications/*', 'stream', 'session/end', 'response', 'unread']
const http = [...METHODS, 'unread']

/** Every operation that a request can name, for warnings about policies that name another one. */
export const OPERATION_NAMES: OperationNames = {
  of: {
    a2a: { call: a2a, administer: a2a },
    mcp: { call: mcp, administer: mcp },
    http: { call: http, administer: http },
    queue: {
      publish: ['publish', 'publish.channel', 'unread'],
      consume: ['lease', 'settle', 'unread'],
      discover: ['discover.channel', 'unread'],
    },
    admin: {
      discover: ['mesh.state', 'unread'],
      record: ['mesh.register', 'mesh.entries', 'mesh.approvals', 'unread'],
      read: [
        ...[...administered('read'), WATCH_OPERATION, 'own.receipt', 'receipt.read', 'unread'],
      ],
      administer: [...administered('administer'), 'unread'],
    },
  },
  named: [...mcpSubjects.keys()],
}
