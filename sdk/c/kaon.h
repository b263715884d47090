/*
 * kaon.h: the native function interface of Kaon, version 1.
 *
 * A native function is a shared library that exports one data symbol, `kaon_function`. Kaon loads it into its own
 * process, calls `init` once, `handle` for each event, and `shutdown` once. All that the library needs from Kaon comes
 * through the table of functions that `init` is given: the library links against nothing of Kaon's.
 *
 *     static const kaon_host* host;
 *     static int32_t init(const kaon_host* h, void** context, char* error, size_t capacity) { host = h; return 0; }
 *     static void handle(void* context, kaon_call call) {
 *       kaon_head head = KAON_HEAD_INIT;
 *       kaon_str body = host->body(call, NULL);
 *       host->respond(call, &head, body.data, body.size);
 *     }
 *     KAON_EXPORT const kaon_descriptor kaon_function = {
 *         KAON_ABI_VERSION, sizeof(kaon_descriptor), KAON_WHOLE_BODY, "echo", init, handle, NULL};
 *
 * CALLS. A call is one event in flight. It is open from `handle` until it is finished, by exactly one of `respond`,
 * `end` and `fail`, in `handle` or at any time later, on any thread. From then on its handle is dead: the call, its
 * event and every view of it (attributes, headers, body) must not be touched, except that inside `handle` or a callback
 * the views of a call that this same invocation has finished stay good until it returns. A dead handle given to the
 * host is recognised: the function returns KAON_E_FINISHED, a second finish is logged, and nothing else happens.
 * What is not recognised is a thread that still uses a call while another one finishes it. A handle is dead for good once
 * the function's `shutdown` has returned, and must not be given to the host after that.
 *
 * A call that is never finished keeps its event, its connection and its place in the function's limits. Kaon tells the
 * source that the event failed once its deadline has passed, but the handler has to finish the call all the same.
 *
 * THREADS. All host functions may be called from any thread. Operations on one call from several threads must be ordered
 * by the caller where their order matters. `handle` and the callbacks of one call never run at the same time as each other;
 * those of different calls do. Where they run is the function's setting:
 *   execution: pool     on one of the function's own threads. They may block; others wait behind them only when all
 *                       threads of the function block.
 *   execution: inline   on the event loop's thread. They must return within microseconds; whatever blocks there stops
 *                       every connection of that loop. Stalls over 10 ms are counted and logged.
 * An exception that leaves `handle` or a callback fails the call if it is still open. Nothing may leave the library's
 * own threads, and nothing may longjmp over the host.
 *
 * MEMORY. What the host returns is borrowed: from the call until it is finished (see above), or, for a chunk, until the
 * callback returns. What the library passes is copied, or sent, before the function returns.
 *
 * LATER VERSIONS. Within version 1, structures grow only at their ends; `size` says how much of one its writer knew.
 * Fields that the writer did not know count as zero. A library uses a function that came later only after
 * KAON_HAS(host, function). A change that breaks this gets a new version number; Kaon refuses a library of another
 * version with a message, and never calls it.
 */
#ifndef KAON_H
#define KAON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAON_ABI_VERSION 1u

#define KAON_EXPORT_SYMBOL __attribute__((visibility("default")))
#ifdef __cplusplus
#define KAON_EXPORT extern "C" KAON_EXPORT_SYMBOL
#else
#define KAON_EXPORT KAON_EXPORT_SYMBOL
#endif

/* Bytes; not terminated by a NUL. `data` may be null when `size` is 0. */
typedef struct kaon_str {
  const char* data;
  size_t size;
} kaon_str;

/* A header, parameter, extension or log field. */
typedef struct kaon_field {
  kaon_str name;
  kaon_str value;
} kaon_field;

/* A handle, copied freely. All zero: no call. */
typedef struct kaon_call {
  void* slot;
  uint64_t generation;
} kaon_call;

/* What most functions return. Negative: nothing was done, except where the function says otherwise. */
enum {
  KAON_OK = 0,
  KAON_PAUSE = 1,           /* done; but write no more before `writable` */
  KAON_E_FINISHED = -1,     /* the handle is dead */
  KAON_E_STATE = -2,        /* out of order: start twice, write before start, read past the end */
  KAON_E_CANCELLED = -3,    /* nobody wants the answer any more: finish the call */
  KAON_E_OVERLOADED = -4,   /* too much is waiting to be sent: the handler ignores KAON_PAUSE */
  KAON_E_INVALID = -5,      /* a bad argument: status, header name or value, index */
  KAON_E_MEMORY = -6
};

/* Why an event failed, by what its source should do about it. */
typedef enum kaon_failure {
  KAON_FAIL_FUNCTION = 0,    /* the function failed; the source may try again */
  KAON_FAIL_INVALID = 1,     /* the event is wrong; trying again will not help */
  KAON_FAIL_NOT_FOUND = 2,
  KAON_FAIL_DENIED = 3,
  KAON_FAIL_OVERLOADED = 4,  /* try again later */
  KAON_FAIL_UNAVAILABLE = 5, /* something that the function needs is gone */
  KAON_FAIL_TIMEOUT = 6,
  KAON_FAIL_CANCELLED = 7
} kaon_failure;

typedef enum kaon_level { KAON_DEBUG = 0, KAON_INFO = 1, KAON_WARNING = 2, KAON_ERROR = 3 } kaon_level;

/* Attributes of the event. Absent ones are empty. */
typedef enum kaon_attribute {
  KAON_ID = 0,
  KAON_SOURCE = 1,
  KAON_TYPE = 2,
  KAON_SUBJECT = 3,
  KAON_TIME = 4, /* RFC 3339 */
  KAON_DATACONTENTTYPE = 5,
  KAON_TRACEPARENT = 6,
  KAON_TRIGGER = 7, /* the trigger's name in function.yaml */
  KAON_METHOD = 8,  /* of an HTTP request, as are the next two */
  KAON_PATH = 9,    /* not percent-decoded */
  KAON_QUERY = 10,
  KAON_TOPIC = 11
} kaon_attribute;

typedef enum kaon_number {
  KAON_DEADLINE_NS = 0, /* of CLOCK_MONOTONIC; INT64_MAX: none */
  KAON_BODY_SIZE = 1,   /* bytes, where the source said it beforehand; else -1 */
  KAON_ATTEMPT = 2,     /* 1 for the first delivery */
  KAON_PARTITION = 3,   /* -1: none */
  KAON_OFFSET = 4       /* -1: none */
} kaon_number;

typedef enum kaon_fields { KAON_HEADERS = 0, KAON_PARAMS = 1, KAON_EXTENSIONS = 2 } kaon_fields;

#define KAON_UNKNOWN_SIZE UINT64_MAX

/* The head of a response. Start from KAON_HEAD_INIT. */
typedef struct kaon_head {
  uint32_t size;         /* sizeof(kaon_head) */
  int32_t status;        /* 200 to 599 */
  kaon_str content_type; /* empty: the trigger chooses */
  const kaon_field* headers;
  size_t header_count;
  uint64_t body_size; /* for `start`, where it is known; else KAON_UNKNOWN_SIZE */
} kaon_head;

#define KAON_HEAD_INIT {sizeof(kaon_head), 200, {0, 0}, 0, 0, KAON_UNKNOWN_SIZE}

/* What a call that is not over when `handle` returns may want to hear. Each may be null. */
typedef struct kaon_callbacks {
  uint32_t size; /* sizeof(kaon_callbacks) */
  uint32_t reserved;
  /* The answer to `read_body`; `end` is not 0 for the last chunk, which may be empty. */
  void (*body)(void* user, kaon_call call, const char* chunk, size_t chunk_size, int32_t end);
  /* There is room again after KAON_PAUSE. */
  void (*writable)(void* user, kaon_call call);
  /* The deadline has passed, the client has gone or Kaon stops: finish the call soon, with anything. At most once. `body`
     and `writable` do not come any more. */
  void (*cancelled)(void* user, kaon_call call);
  /* The last use of `user`: the call is finished and no callback runs or will run. Called once, after the finish, if the
     callbacks were set. The handle is dead. Not called for calls that are still unfinished when the process exits. */
  void (*closed)(void* user);
} kaon_callbacks;

/* The host's functions. The table lives as long as the library is loaded. */
typedef struct kaon_host {
  uint32_t abi_version;
  uint32_t size;

  /* --- the event; empty answers for a dead handle --- */
  kaon_str (*attribute)(kaon_call call, kaon_attribute which);
  int64_t (*number)(kaon_call call, kaon_number which); /* -1 for a dead handle */
  /* Copies the field with this index; 0 past the last. In the order of the source; names may repeat. */
  int32_t (*field)(kaon_call call, kaon_fields which, size_t index, kaon_field* out);
  /* The value of the first with this name, letter case ignored; not 0 when there is one. `value` may be null. */
  int32_t (*find)(kaon_call call, kaon_fields which, kaon_str name, kaon_str* value);
  /* What had arrived of the body when `handle` was called; with KAON_WHOLE_BODY all of it. `complete` may be null. */
  kaon_str (*body)(kaon_call call, int32_t* complete);

  /* --- reading on, and hearing of the call --- */
  /* Once for each call, before it is finished. Callbacks begin after the current invocation of `handle` or of a
     callback has returned. A null `callbacks->closed` is allowed: then only the library knows when `user` is free. */
  int32_t (*set_callbacks)(kaon_call call, const kaon_callbacks* callbacks, void* user);
  /* Asks for the next chunk after `body`, once at a time: `callbacks.body`, which must be set by then, answers, unless the
     call is cancelled first. Not asking is the backpressure: a body is never read ahead by more than a buffer. */
  int32_t (*read_body)(kaon_call call);
  /* Not 0 when nobody wants the answer any more; also for a dead handle. Cheap: one atomic load. */
  int32_t (*cancelled)(kaon_call call);

  /* --- finishing. A finish of a cancelled call finishes it, returns KAON_OK and sends nothing --- */
  /* The whole answer. `head` may be null: 200. Finishes. */
  int32_t (*respond)(kaon_call call, const kaon_head* head, const char* body, size_t size);
  /* The answer in pieces: `start`, `write` as often as wanted, `end`, which finishes. */
  int32_t (*start)(kaon_call call, const kaon_head* head);
  /* KAON_OK, or KAON_PAUSE when it was taken and more should wait for `callbacks.writable`. */
  int32_t (*write)(kaon_call call, const char* data, size_t size);
  /* The last piece, which may be empty. */
  int32_t (*end)(kaon_call call, const char* data, size_t size);
  /* A failure; after `start` the client sees a broken answer, never a short one. The message goes to the log and, where
     the trigger is so configured, to the source. Finishes. */
  int32_t (*fail)(kaon_call call, kaon_failure why, kaon_str message);

  /* --- the log --- */
  /* A record with at most 16 fields (more are dropped). With a live call it carries the event's id; `call` may be all
     zero. `host` is this table. */
  void (*log)(const struct kaon_host* host, kaon_call call, kaon_level level, kaon_str message, const kaon_field* fields,
              size_t count);
  /* Not 0 when a record of the level would be written. */
  int32_t (*log_enabled)(const struct kaon_host* host, kaon_level level);
} kaon_host;

#define KAON_HAS(host, function) ((host)->size >= offsetof(kaon_host, function) + sizeof((host)->function))

/* Flags of a descriptor. */
enum {
  /* `handle` is called once the whole body is there. A body over the function's `max_body_bytes` fails the event. */
  KAON_WHOLE_BODY = 1
};

/* What the library exports as `kaon_function`. It and `name` live as long as the library is loaded. */
typedef struct kaon_descriptor {
  uint32_t abi_version; /* KAON_ABI_VERSION */
  uint32_t size;        /* sizeof(kaon_descriptor) */
  uint32_t flags;
  const char* name; /* for messages; may be null */
  /* Once, before any event. `*context` is handed to the others. 0 for success; otherwise a terminated message may be
     written to `error` (at most `capacity` bytes), and neither `handle` nor `shutdown` is called. May be null. */
  int32_t (*init)(const kaon_host* host, void** context, char* error, size_t capacity);
  void (*handle)(void* context, kaon_call call);
  /* Once, when no `handle` and no callback runs any more. The library ends its own threads here; calls that they still
     hold are cancelled, and finishing them is allowed and goes nowhere. May be null. When a handler hangs at the very
     end, Kaon gives up on it after a few seconds: `shutdown` is then not called and the library stays loaded. */
  void (*shutdown)(void* context);
} kaon_descriptor;

#ifdef __cplusplus
}
#endif

#endif
