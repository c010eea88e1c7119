import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import {
  CallToolRequestSchema,
  type CallToolResult,
  CompleteRequestSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  ResultSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'

/** The smallest image and sound there are: what a client does with them is not the point. */
const image = {
  type: 'image',
  data: 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  mimeType: 'image/png',
} as const
const sound = {
  type: 'audio',
  data: 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=',
  mimeType: 'audio/wav',
} as const
const text = (said: string) => ({ type: 'text', text: said }) as const
const embedded = (uri: string, mimeType: string, said: string) =>
  ({ type: 'resource', resource: { uri, mimeType, text: said } }) as const

/** The messages that a tool may send to the client while it is being called. */
interface Conversation {
  readonly args: Readonly<Record<string, unknown>>
  log(data: string): Promise<void>
  progress(progress: number): Promise<void>
  ask(method: string, params: object): Promise<Readonly<Record<string, unknown>>>
}

type Tool = (conversation: Conversation) => CallToolResult | Promise<CallToolResult>
const saying = (...content: CallToolResult['content']): CallToolResult => ({ content })

const elicit = async (
  { ask }: Conversation,
  message: string,
  properties: object,
): Promise<CallToolResult> => {
  const requestedSchema = { type: 'object', properties, required: [] }
  const { action, content } = await ask('elicitation/create', { message, requestedSchema })
  return saying(
    text(`Elicitation completed: action=${String(action)}, content=${JSON.stringify(content)}`),
  )
}

const choices = ['option1', 'option2', 'option3']
const titled = [
  { const: 'value1', title: 'First Option' },
  { const: 'value2', title: 'Second Option' },
]

/** Named, and answering, as the scenarios of the conformance suite demand. */
const tools: Readonly<Record<string, Tool>> = {
  test_simple_text: () => saying(text('This is a simple text response for testing.')),
  test_image_content: () => saying(image),
  test_audio_content: () => saying(sound),
  test_embedded_resource: () =>
    saying(
      embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
    ),
  test_multiple_content_types: () =>
    saying(
      text('Multiple content types test:'),
      image,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ),
  test_error_handling: () => ({
    isError: true,
    ...saying(text('This tool intentionally returns an error for testing')),
  }),
  async test_tool_with_logging({ log }) {
    await log('Tool execution started')
    await wait(50)
    await log('Tool processing data')
    await wait(50)
    await log('Tool execution completed')
    return saying(text('logged'))
  },
  async test_tool_with_progress({ progress }) {
    for (const done of [0, 50, 100]) {
      await progress(done)
      await wait(50)
    }
    return saying(text('progressed'))
  },
  async test_sampling({ ask, args }) {
    const messages = [{ role: 'user', content: text(String(args['prompt'])) }]
    const { content } = await ask('sampling/createMessage', { messages, maxTokens: 100 })
    return saying(text(`LLM response: ${(content as { text?: string }).text}`))
  },
  test_elicitation: (conversation) =>
    elicit(conversation, String(conversation.args['message']), {
      username: { type: 'string', description: 'User response' },
      email: { type: 'string', description: 'Address of the user' },
    }),
  test_elicitation_sep1034_defaults: (conversation) =>
    elicit(conversation, 'Please review', {
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    }),
  test_elicitation_sep1330_enums: (conversation) =>
    elicit(conversation, 'Please choose', {
      untitledSingle: { type: 'string', enum: choices },
      titledSingle: { type: 'string', oneOf: titled },
      legacyEnum: {
        type: 'string',
        enum: ['opt1', 'opt2'],
        enumNames: ['Option One', 'Option Two'],
      },
      untitledMulti: { type: 'array', items: { type: 'string', enum: choices } },
      titledMulti: { type: 'array', items: { anyOf: titled } },
    }),
}

const plainSchema = { type: 'object', properties: {} } as const
const schemas: Readonly<Record<string, { type: 'object'; [member: string]: unknown }>> = {
  test_sampling: {
    type: 'object',
    properties: { prompt: { type: 'string' } },
    required: ['prompt'],
  },
  test_elicitation: {
    type: 'object',
    properties: { message: { type: 'string' } },
    required: ['message'],
  },
  json_schema_2020_12_tool: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
      address: {
        type: 'object',
        properties: { street: { type: 'string' }, city: { type: 'string' } },
      },
    },
    properties: { name: { type: 'string' }, address: { $ref: '#/$defs/address' } },
    additionalProperties: false,
  },
}

function addTools(server: Server): void {
  const names = new Set([...Object.keys(tools), ...Object.keys(schemas)])
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [...names].map((name) => ({
      name,
      description: `The tool ${name}`,
      inputSchema: schemas[name] ?? plainSchema,
    })),
  }))
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const tool = tools[params.name]
    if (tool === undefined) throw new Error(`no tool ${params.name}`)
    const token = params._meta?.progressToken
    return tool({
      args: params.arguments ?? {},
      log: (data) =>
        extra.sendNotification({
          method: 'notifications/message',
          params: { level: 'info', data },
        }),
      async progress(progress) {
        if (token === undefined) return
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken: token, progress, total: 100 },
        })
      },
      ask: (method, asked) => extra.sendRequest({ method, params: asked } as never, ResultSchema),
    })
  })
}

function addResources(server: Server): void {
  const list = ['static-text', 'static-binary', 'watched-resource']
  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: list.map((name) => ({ uri: `test://${name}`, name, description: `The ${name}` })),
  }))
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: 'test://template/{id}/data', name: 'template' }],
  }))
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
    const id = /^test:\/\/template\/(.*)\/data$/.exec(uri)?.[1]
    if (uri === 'test://static-binary') {
      return { contents: [{ uri, mimeType: image.mimeType, blob: image.data }] }
    }
    const said =
      id === undefined
        ? 'This is the content of the static text resource.'
        : JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` })
    const mimeType = id === undefined ? 'text/plain' : 'application/json'
    return { contents: [{ uri, mimeType, text: said }] }
  })
  server.setRequestHandler(SubscribeRequestSchema, () => ({}))
  server.setRequestHandler(UnsubscribeRequestSchema, () => ({}))
}

function addPrompts(server: Server): void {
  const needed: Readonly<Record<string, readonly string[]>> = {
    test_simple_prompt: [],
    test_prompt_with_arguments: ['arg1', 'arg2'],
    test_prompt_with_embedded_resource: ['resourceUri'],
    test_prompt_with_image: [],
  }
  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: Object.entries(needed).map(([name, args]) => ({
      name,
      description: `The prompt ${name}`,
      arguments: args.map((arg) => ({ name: arg, required: true })),
    })),
  }))
  server.setRequestHandler(GetPromptRequestSchema, ({ params: { name, arguments: args = {} } }) => {
    const user = (content: ReturnType<typeof text> | typeof image | ReturnType<typeof embedded>) =>
      ({ role: 'user', content }) as const
    if (name === 'test_prompt_with_image') {
      return { messages: [user(image), user(text('Please analyze the image above.'))] }
    }
    if (name === 'test_prompt_with_embedded_resource') {
      const resource = embedded(
        args['resourceUri'] ?? '',
        'text/plain',
        'Embedded resource content for testing.',
      )
      return {
        messages: [user(resource), user(text('Please process the embedded resource above.'))],
      }
    }
    const { arg1, arg2 } = args
    const said =
      name === 'test_simple_prompt'
        ? 'This is a simple prompt for testing.'
        : `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`
    return { messages: [user(text(said))] }
  })
  server.setRequestHandler(CompleteRequestSchema, () => ({ completion: { values: ['paris'] } }))
}

function createEverything(): Server {
  const capabilities = {
    ...{ tools: {}, logging: {}, completions: {}, prompts: {} },
    resources: { subscribe: true },
  }
  const server = new Server({ name: 'everything', version: '1.0.0' }, { capabilities })
  addTools(server)
  addResources(server)
  addPrompts(server)
  server.setRequestHandler(SetLevelRequestSchema, () => ({}))
  return server
}

/** Every feature that the conformance suite asks about, on the official SDK, with sessions. */
export async function openEverythingServer(): Promise<{ readonly url: string; close(): void }> {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  async function transportOf(request: IncomingMessage): Promise<StreamableHTTPServerTransport> {
    const known = sessions.get(String(request.headers['mcp-session-id']))
    if (known !== undefined) return known
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    })
    await createEverything().connect(transport)
    return transport
  }
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    transportOf(request)
      .then((transport) => transport.handleRequest(request, response))
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
