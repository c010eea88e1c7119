export { runDemo } from './demo.ts'
export type {
  DemoClock,
  DemoConnector,
  DemoConnectorOptions,
  DemoDeps,
  DemoStyle,
  DemoTerminal,
  Operator,
} from './deps.ts'
