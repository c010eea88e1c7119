/** The protocol that a route carries; `auto` distinguishes the three request by request. */
export type RouteProtocol = 'a2a' | 'mcp' | 'http' | 'auto'
