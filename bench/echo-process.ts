import { createServer } from 'node:http'

const body = JSON.stringify({
  status: 'ok',
  items: Array.from({ length: 12 }, (_, i) => `item ${i}`),
})

/** A receiver that costs as little as Node allows: the rest is ours. */
const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(body)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 })
})
process.on('SIGTERM', () => process.exit(0))
