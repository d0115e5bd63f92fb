/** The types of wsctl.js. Beside a module saved as wsctl.mjs they are wsctl.d.mts. */

/** What a client can be doing. */
export type State = "connecting" | "open" | "waiting" | "closed";

export const STATES: readonly State[];

/** By what a client reaches its server. */
export type Transport = "websocket" | "event-stream";

/** The first frame of a connection, and one that comes again when a degraded server is whole. */
export interface Welcome {
  type: "welcome";
  client_id: string;
  id: string;
  recovered?: boolean;
  /** Topics, or patterns of them, of which messages are lost. */
  lost?: string[];
  keepalive_s?: number;
  /** What the server takes of this client, and what is left of it; absent: no limit. */
  rate?: { per_second: number; burst: number; left: number };
  server: { version: string; phase: string; connections: number; degraded?: boolean };
}

/** A message; `ts` is in Unix seconds, and `from` is "server" or a client id. */
export interface Message<Data = unknown> {
  type: "message";
  id: string;
  ts: number;
  from: string;
  topic?: string;
  /** The trace context (W3C) with which a receiver goes on, where the server sends it. */
  traceparent?: string;
  to?: string[];
  data: Data;
}

export interface Heartbeat {
  type: "heartbeat";
  ts: number;
  connections: number;
  n: number;
}

export interface Keepalive {
  type: "keepalive";
}

/** A drain began, or its deadline moved; null: it was cancelled. */
export interface Shutdown {
  type: "shutdown";
  deadline_s: number | null;
  reason: string;
  reconnect_in_s?: number;
}

/** A refusal that answers no call. `topics` are subscriptions that have ended. */
export interface Refusal {
  type: "error";
  code: string;
  message: string;
  topics?: string[];
}

/** Somebody began or ceased to subscribe to a topic. */
export interface Presence {
  type: "joined" | "left";
  topic: string;
  client_id: string;
}

export interface FrameEvent<Frame> extends Event {
  frame: Frame;
}

export interface MessageEvent<Data = unknown> extends FrameEvent<Message<Data>> {
  data: Data;
}

export interface TransportEvent extends Event {
  transport: Transport;
  /** On an event stream: why no WebSocket could be had. */
  reason?: string;
}

export interface ConnectingEvent extends TransportEvent {
  /** The server asked it to leave and come back. */
  planned: boolean;
}

export interface OpenEvent extends TransportEvent {
  frame: Welcome;
  /** Nothing was missed since the last message. */
  recovered: boolean;
  /** The topics, or patterns, of which messages were missed, if the server names them. */
  lost: string[];
  /** It was open before. */
  reconnected: boolean;
}

export interface ClosedEvent extends Event {
  code: number;
  reason: string;
}

export interface WaitingEvent extends ClosedEvent {
  /** Milliseconds until the next attempt. */
  wait: number;
}

export interface ClientEvents<Data = unknown> {
  connecting: ConnectingEvent;
  open: OpenEvent;
  waiting: WaitingEvent;
  closed: ClosedEvent;
  message: MessageEvent<Data>;
  heartbeat: FrameEvent<Heartbeat>;
  keepalive: FrameEvent<Keepalive>;
  shutdown: FrameEvent<Shutdown>;
  error: FrameEvent<Refusal>;
  joined: FrameEvent<Presence>;
  left: FrameEvent<Presence>;
}

export type Token = string | null | undefined;

export interface ClientOptions {
  /** Topics to subscribe to, or patterns of them. With them, also with [], there are commands. */
  topics?: Iterable<string>;
  /** A token, or a function that is asked for one before each attempt. */
  token?: Token | (() => Token | Promise<Token>);
  /** Seconds, from 1 to 300, after which the server is to give a sign of life; 0: never. */
  keepalive?: number;
  /** Milliseconds that an attempt has until the welcome. */
  openTimeout?: number;
  /** "auto": a WebSocket, or an event stream where none can be had. */
  transport?: "auto" | Transport;
  /** An implementation, where none is global. */
  WebSocket?: unknown;
  /** The same, for event streams. */
  fetch?: typeof fetch;
}

export interface PublishOptions {
  topic?: string;
  /** The ids that alone get it, where the server permits that. */
  to?: string[];
  /** A name for this message: what was published with it in the last 5 minutes is not published again. */
  key?: string;
  /** The trace context (W3C) of the caller, where the server traces. */
  traceparent?: string;
}

/** What became of a command: the server's `code`, or not_connected, no_websocket; unconfirmed: nobody knows. */
export class CommandError extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}

/** One client id on one server, over as many connections as it takes. `Data` is what its messages hold. */
export class Client<Data = unknown> extends EventTarget {
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: State;

  /** By what it is connected or tries to be. */
  readonly transport: Transport;

  /** How many messages and commands wait: no more are sent at a time than the server takes. */
  readonly queued: number;

  /** The id after which it resumes; null before the first welcome. */
  readonly cursor: string | null;

  /** The topics and patterns that it subscribes to. */
  readonly topics: string[];

  /** Publish a message; its id, when the server has it. */
  publish(data: unknown, options?: PublishOptions): Promise<string>;

  /** Subscribe to further topics, or patterns of them, from now on and at each connection. */
  subscribe(...topics: string[]): Promise<void>;

  /** Subscribe to topics, without wildcards, and be told by `joined` and `left` who else does and ceases to. */
  watch(...topics: string[]): Promise<void>;

  /** Ask who is subscribed to a topic, by whichever pattern; `clients` has up to 1,000. */
  presence(topic: string): Promise<{ count: number; clients: { client_id: string; connections: number }[] }>;

  /** End subscriptions, as they were made. */
  unsubscribe(...topics: string[]): Promise<void>;

  /** Hand a text to the connection; false while none is open: it is not sent. */
  send(text: string): boolean;

  /** End a pause, when the network is back. */
  retry(): void;

  /** Leave for good. */
  close(): void;

  addEventListener<Type extends keyof ClientEvents<Data>>(
    type: Type,
    listener: ((this: Client<Data>, event: ClientEvents<Data>[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;

  removeEventListener<Type extends keyof ClientEvents<Data>>(
    type: Type,
    listener: ((this: Client<Data>, event: ClientEvents<Data>[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
