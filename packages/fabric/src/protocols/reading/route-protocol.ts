/** The protocol that a route carries; `auto` tells the three apart request by request. */
export type RouteProtocol = 'a2a' | 'mcp' | 'http' | 'auto'
