/** Frames of `/global/event` as opencode 1.18.33 sent them (test/support/capture.ts), one for each shape. */
export const realEvents: Record<
  string,
  { directory?: string; project?: string; payload: Record<string, unknown> }
> = {
  'server.connected': {
    payload: {
      id: 'evt_202d05f04001saWCuoHtUR6St0',
      type: 'server.connected',
      properties: {},
    },
  },
  'project.updated': {
    directory: 'global',
    project: 'global',
    payload: {
      type: 'project.updated',
      properties: {
        id: 'global',
        worktree: '/',
        sandboxes: [],
        time: {
          created: 1795343540120,
          updated: 1795343540120,
        },
      },
      id: 'evt_202d05fb6001vsYlM8iBGSBpfZ',
    },
  },
  'session.created': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d062060018QJ0crBhkFRfJq',
      type: 'session.created',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        info: {
          id: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          slug: 'lucky-falcon',
          version: '1.18.33',
          projectID: 'global',
          directory: '/tmp/opencode-home-D46Mi8/project',
          path: 'tmp/opencode-home-D46Mi8/project',
          title: 'capture',
          cost: 0,
          tokens: {
            input: 0,
            output: 0,
            reasoning: 0,
            cache: {
              read: 0,
              write: 0,
            },
          },
          time: {
            created: 1795343540741,
            updated: 1795343540741,
          },
        },
      },
    },
  },
  sync: {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      type: 'sync',
      syncEvent: {
        id: 'evt_202d062060018QJ0crBhkFRfJq',
        type: 'session.created.1',
        seq: 0,
        aggregateID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        data: {
          sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          info: {
            id: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
            slug: 'lucky-falcon',
            version: '1.18.33',
            projectID: 'global',
            directory: '/tmp/opencode-home-D46Mi8/project',
            path: 'tmp/opencode-home-D46Mi8/project',
            title: 'capture',
            cost: 0,
            tokens: {
              input: 0,
              output: 0,
              reasoning: 0,
              cache: {
                read: 0,
                write: 0,
              },
            },
            time: {
              created: 1795343540741,
              updated: 1795343540741,
            },
          },
        },
      },
      id: 'evt_202d062060018QJ0crBhkFRfJq',
    },
  },
  'session.updated': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d0628b001pTuqjwxYzqhcez',
      type: 'session.updated',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        info: {
          id: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          slug: 'lucky-falcon',
          projectID: 'global',
          directory: '/tmp/opencode-home-D46Mi8/project',
          path: 'tmp/opencode-home-D46Mi8/project',
          title: 'capture',
          agent: 'build',
          model: {
            id: 'm1',
            providerID: 'fake',
            variant: 'default',
          },
          version: '1.18.33',
          cost: 0,
          tokens: {
            input: 0,
            output: 0,
            reasoning: 0,
            cache: {
              read: 0,
              write: 0,
            },
          },
          time: {
            created: 1795343540741,
            updated: 1795343540873,
          },
        },
      },
    },
  },
  'message.updated:user': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d062a9001sVoBEEdn6DEdhL',
      type: 'message.updated',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        info: {
          id: 'msg_202d06289001X3DzuT6bUrgM7u',
          role: 'user',
          sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          time: {
            created: 1795343540873,
          },
          agent: 'build',
          model: {
            providerID: 'fake',
            modelID: 'm1',
          },
        },
      },
    },
  },
  'message.part.updated:text:': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d06b5a001rqhcjoSdfBJJ0U',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        part: {
          type: 'text',
          text: '[[401]]',
          messageID: 'msg_202d06289001X3DzuT6bUrgM7u',
          sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          id: 'prt_202d062a30010s0D25oR8tS7bm',
        },
        time: 1795343543130,
      },
    },
  },
  'session.status:busy': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d06b81001op5oQaRrVxeux4',
      type: 'session.status',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        status: {
          type: 'busy',
        },
      },
    },
  },
  'message.updated:assistant': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d06b8c001sqbgCrHd74GkTW',
      type: 'message.updated',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        info: {
          id: 'msg_202d06b8c001sRtIxjf8Wa9c54',
          parentID: 'msg_202d06289001X3DzuT6bUrgM7u',
          role: 'assistant',
          mode: 'build',
          agent: 'build',
          path: {
            cwd: '/tmp/opencode-home-D46Mi8/project',
            root: '/',
          },
          cost: 0,
          tokens: {
            input: 0,
            output: 0,
            reasoning: 0,
            cache: {
              read: 0,
              write: 0,
            },
          },
          modelID: 'm1',
          providerID: 'fake',
          time: {
            created: 1795343543180,
          },
          sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        },
      },
    },
  },
  'session.diff': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d06ce0001B9lKRgOWbjrrr0',
      type: 'session.diff',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        diff: [],
      },
    },
  },
  'plugin.added': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d06e34001wcWSqDu6cJOniY',
      type: 'plugin.added',
      properties: {
        id: 'core/config-reference',
      },
    },
  },
  'session.error:APIError': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d0745d001T7k6Sq6Wbgm4Dl',
      type: 'session.error',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        error: {
          name: 'APIError',
          data: {
            message: 'Incorrect API key provided',
            statusCode: 401,
            isRetryable: false,
            responseHeaders: {
              connection: 'keep-alive',
              'content-type': 'application/json',
              date: 'Sun, 22 Nov 2026 10:32:24 GMT',
              'keep-alive': 'timeout=5',
              'transfer-encoding': 'chunked',
            },
            responseBody:
              '{"error":{"message":"Incorrect API key provided","type":"error","code":"401"}}',
            metadata: {
              url: 'http://127.0.0.1:46633/v1/chat/completions',
            },
          },
        },
      },
    },
  },
  'session.status:idle': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d0745d002Yn955evUXGH1Y6',
      type: 'session.status',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        status: {
          type: 'idle',
        },
      },
    },
  },
  'session.idle': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d0745e001XbTky1qIws9516',
      type: 'session.idle',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
      },
    },
  },
  'message.updated:assistant:done': {
    directory: '/tmp/opencode-home-D46Mi8/project',
    project: 'global',
    payload: {
      id: 'evt_202d0745e002nUhxj4t4Js4M8d',
      type: 'message.updated',
      properties: {
        sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
        info: {
          id: 'msg_202d06b8c001sRtIxjf8Wa9c54',
          parentID: 'msg_202d06289001X3DzuT6bUrgM7u',
          role: 'assistant',
          mode: 'build',
          agent: 'build',
          path: {
            cwd: '/tmp/opencode-home-D46Mi8/project',
            root: '/',
          },
          cost: 0,
          tokens: {
            input: 0,
            output: 0,
            reasoning: 0,
            cache: {
              read: 0,
              write: 0,
            },
          },
          modelID: 'm1',
          providerID: 'fake',
          time: {
            created: 1795343543180,
            completed: 1795343545438,
          },
          sessionID: 'ses_dfd2f9dfaffeN9AU5ZfFmyHGBg',
          error: {
            name: 'APIError',
            data: {
              message: 'Incorrect API key provided',
              statusCode: 401,
              isRetryable: false,
              responseHeaders: {
                connection: 'keep-alive',
                'content-type': 'application/json',
                date: 'Sun, 22 Nov 2026 10:32:24 GMT',
                'keep-alive': 'timeout=5',
                'transfer-encoding': 'chunked',
              },
              responseBody:
                '{"error":{"message":"Incorrect API key provided","type":"error","code":"401"}}',
              metadata: {
                url: 'http://127.0.0.1:46633/v1/chat/completions',
              },
            },
          },
        },
      },
    },
  },
  'session.status:retry': {
    directory: '/tmp/opencode-home-P1vVlE/project',
    project: 'global',
    payload: {
      id: 'evt_202cd3e69001KNMCuG1h53yvN6',
      type: 'session.status',
      properties: {
        sessionID: 'ses_dfd32d5c4ffed4hu7TBzIUmfS8',
        status: {
          type: 'retry',
          attempt: 1,
          message: 'Rate limit reached',
          next: 1795343337377,
        },
      },
    },
  },
  'server.heartbeat': {
    payload: {
      id: 'evt_202cd50bb001PiMsg7UkoqMOEu',
      type: 'server.heartbeat',
      properties: {},
    },
  },
  'message.part.updated:step-start:': {
    directory: '/tmp/opencode-home-l9pdNs/project',
    project: 'global',
    payload: {
      id: 'evt_202d5165b001dkSzvRm39uIPuM',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
        part: {
          id: 'prt_202d5165a001kpxTeY4IQ8VPtL',
          messageID: 'msg_202d513ba001s8Ws8vg64jvhyb',
          sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
          type: 'step-start',
        },
        time: 1795343849050,
      },
    },
  },
  'message.part.updated:tool:pending:bash': {
    directory: '/tmp/opencode-home-l9pdNs/project',
    project: 'global',
    payload: {
      id: 'evt_202d51662001FIw71tBQC8YuUC',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
        part: {
          id: 'prt_202d51661001dC1gSNI2O0AnCS',
          messageID: 'msg_202d513ba001s8Ws8vg64jvhyb',
          sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
          type: 'tool',
          tool: 'bash',
          callID: 'call_d66d8204',
          state: {
            status: 'pending',
            input: {},
            raw: '',
          },
        },
        time: 1795343849058,
      },
    },
  },
  'message.part.updated:tool:running:bash': {
    directory: '/tmp/opencode-home-l9pdNs/project',
    project: 'global',
    payload: {
      id: 'evt_202d5166e0014CjgxAKi54REMQ',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
        part: {
          type: 'tool',
          tool: 'bash',
          callID: 'call_d66d8204',
          state: {
            status: 'running',
            input: {
              command: 'sleep 3600',
              description: 'Runs the test command',
              timeout: 7200000,
            },
            time: {
              start: 1795343849069,
            },
          },
          id: 'prt_202d51661001dC1gSNI2O0AnCS',
          sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
          messageID: 'msg_202d513ba001s8Ws8vg64jvhyb',
        },
        time: 1795343849069,
      },
    },
  },
  'session.error:MessageAbortedError': {
    directory: '/tmp/opencode-home-l9pdNs/project',
    project: 'global',
    payload: {
      id: 'evt_202d52477001WYKuVeXNOCIFLP',
      type: 'session.error',
      properties: {
        sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
        error: {
          name: 'MessageAbortedError',
          data: {
            message: 'Aborted',
          },
        },
      },
    },
  },
  'message.part.updated:tool:completed:bash': {
    directory: '/tmp/opencode-home-l9pdNs/project',
    project: 'global',
    payload: {
      id: 'evt_202d5247d001SpQMRGon56lDKA',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
        part: {
          type: 'tool',
          tool: 'bash',
          callID: 'call_d66d8204',
          state: {
            status: 'completed',
            input: {
              command: 'sleep 3600',
              description: 'Runs the test command',
              timeout: 7200000,
            },
            output: '(no output)\n\n<shell_metadata>\nUser aborted the command\n</shell_metadata>',
            metadata: {
              output:
                '(no output)\n\n<shell_metadata>\nUser aborted the command\n</shell_metadata>',
              exit: null,
              truncated: false,
            },
            title: 'sleep 3600',
            time: {
              start: 1795343849069,
              end: 1795343852669,
            },
          },
          id: 'prt_202d51661001dC1gSNI2O0AnCS',
          sessionID: 'ses_dfd2aef45ffefqhlCv62xhIhuT',
          messageID: 'msg_202d513ba001s8Ws8vg64jvhyb',
        },
        time: 1795343852669,
      },
    },
  },
  'message.part.updated:tool:pending:task': {
    directory: '/tmp/opencode-home-BhIauf/project',
    project: 'global',
    payload: {
      id: 'evt_202d3d324001r9dOEeL1SaBtFo',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
        part: {
          id: 'prt_202d3d324001WWSeVaGOcznigF',
          messageID: 'msg_202d3cac5001a1gk46uHfuXKwT',
          sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
          type: 'tool',
          tool: 'task',
          callID: 'call_39bf0152',
          state: {
            status: 'pending',
            input: {},
            raw: '',
          },
        },
        time: 1795343766308,
      },
    },
  },
  'message.part.updated:tool:running:task': {
    directory: '/tmp/opencode-home-BhIauf/project',
    project: 'global',
    payload: {
      id: 'evt_202d3d35e001gCVa3uideaQBsj',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
        part: {
          type: 'tool',
          tool: 'task',
          callID: 'call_39bf0152',
          state: {
            title: 'Test subtask',
            metadata: {
              parentSessionId: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
              sessionId: 'ses_dfd2c2cafffeL5LCYAFKHwScYX',
              model: {
                modelID: 'm1',
                providerID: 'fake',
              },
            },
            status: 'running',
            input: {
              description: 'Test subtask',
              prompt: '[[hang]] please',
              subagent_type: 'general',
            },
            time: {
              start: 1795343766366,
            },
          },
          id: 'prt_202d3d324001WWSeVaGOcznigF',
          sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
          messageID: 'msg_202d3cac5001a1gk46uHfuXKwT',
        },
        time: 1795343766366,
      },
    },
  },
  'message.part.updated:tool:error:task': {
    directory: '/tmp/opencode-home-BhIauf/project',
    project: 'global',
    payload: {
      id: 'evt_202d3e385001PuuAYz6MfbagQq',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
        part: {
          type: 'tool',
          tool: 'task',
          callID: 'call_39bf0152',
          state: {
            title: 'Test subtask',
            metadata: {
              parentSessionId: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
              sessionId: 'ses_dfd2c2cafffeL5LCYAFKHwScYX',
              model: {
                modelID: 'm1',
                providerID: 'fake',
              },
              interrupted: true,
            },
            status: 'error',
            input: {
              description: 'Test subtask',
              prompt: '[[hang]] please',
              subagent_type: 'general',
            },
            time: {
              start: 1795343766366,
              end: 1795343770500,
            },
            error: 'Tool execution aborted',
          },
          id: 'prt_202d3d324001WWSeVaGOcznigF',
          sessionID: 'ses_dfd2c3d4affexy64vJVB7cRYCw',
          messageID: 'msg_202d3cac5001a1gk46uHfuXKwT',
        },
        time: 1795343770500,
      },
    },
  },
  'permission.asked': {
    directory: '/tmp/opencode-home-nrA38i/project',
    project: 'global',
    payload: {
      id: 'evt_202d06fa0001Vhoj34fNEPL56H',
      type: 'permission.asked',
      properties: {
        id: 'per_202d06f9c0014M7Sa6Dk5QdHU3',
        sessionID: 'ses_dfd2fa5c8ffeMeL1liLG3jH7lF',
        permission: 'bash',
        patterns: ['echo hi'],
        metadata: {
          command: 'echo hi',
        },
        always: ['echo *'],
        tool: {
          messageID: 'msg_202d0621b001E9WTdozFZpkn5I',
          callID: 'call_f6850fef',
        },
      },
    },
  },
  'message.part.updated:step-finish:': {
    directory: '/tmp/opencode-home-rKMe65/project',
    project: 'global',
    payload: {
      id: 'evt_202d4f601001vI79vlBcNOm3Sz',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2b1c4effeSxp5Y1Y1ljk0nv',
        part: {
          id: 'prt_202d4f600001Mi4L477PB1pidL',
          reason: 'tool-calls',
          messageID: 'msg_202d4e6c10016HS6Ih1PGe56Q4',
          sessionID: 'ses_dfd2b1c4effeSxp5Y1Y1ljk0nv',
          type: 'step-finish',
          tokens: {
            total: 15,
            input: 10,
            output: 5,
            reasoning: 0,
            cache: {
              write: 0,
              read: 0,
            },
          },
          cost: 0,
        },
        time: 1795343840769,
      },
    },
  },
  'message.part.updated:text::timed': {
    directory: '/tmp/opencode-home-rKMe65/project',
    project: 'global',
    payload: {
      id: 'evt_202d4f650001jQTiu7805WwEZ6',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2b1c4effeSxp5Y1Y1ljk0nv',
        part: {
          id: 'prt_202d4f64f001560j4PggAY4Ea8',
          messageID: 'msg_202d4f60c001KO5Dc7J8I0wwoe',
          sessionID: 'ses_dfd2b1c4effeSxp5Y1Y1ljk0nv',
          type: 'text',
          text: '',
          time: {
            start: 1795343840847,
          },
        },
        time: 1795343840847,
      },
    },
  },
  'message.part.delta': {
    directory: '/tmp/opencode-home-rKMe65/project',
    project: 'global',
    payload: {
      id: 'evt_202d4f652001PwMgKIewT8HUXP',
      type: 'message.part.delta',
      properties: {
        sessionID: 'ses_dfd2b1c4effeSxp5Y1Y1ljk0nv',
        messageID: 'msg_202d4f60c001KO5Dc7J8I0wwoe',
        partID: 'prt_202d4f64f001560j4PggAY4Ea8',
        field: 'text',
        delta: 'All done.',
      },
    },
  },
  'session.deleted': {
    directory: '/tmp/opencode-home-5TjWT8/project',
    project: 'global',
    payload: {
      id: 'evt_202d3da73001mS8FCIKIQ8TdMY',
      type: 'session.deleted',
      properties: {
        sessionID: 'ses_dfd2c3b95ffeJGCAuwnWNvV7fj',
        info: {
          id: 'ses_dfd2c3b95ffeJGCAuwnWNvV7fj',
          slug: 'eager-rocket',
          projectID: 'global',
          directory: '/tmp/opencode-home-5TjWT8/project',
          path: 'tmp/opencode-home-5TjWT8/project',
          title: 'capture',
          agent: 'build',
          model: {
            id: 'm1',
            providerID: 'fake',
            variant: 'default',
          },
          version: '1.18.33',
          summary: {
            additions: 0,
            deletions: 0,
            files: 0,
          },
          cost: 0,
          tokens: {
            input: 0,
            output: 0,
            reasoning: 0,
            cache: {
              read: 0,
              write: 0,
            },
          },
          time: {
            created: 1795343762538,
            updated: 1795343765105,
          },
        },
      },
    },
  },
  'message.part.updated:tool:pending:question': {
    directory: '/tmp/opencode-home-CvzGGb/project',
    project: 'global',
    payload: {
      id: 'evt_202d05fbd0010vfL4EFUNDpTsv',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2facc5ffeXnGCOZZ1qWPItr',
        part: {
          id: 'prt_202d05fbc001t6C8aUfUmiLxzj',
          messageID: 'msg_202d059b8001D6pfWP6m08gI6D',
          sessionID: 'ses_dfd2facc5ffeXnGCOZZ1qWPItr',
          type: 'tool',
          tool: 'question',
          callID: 'call_4fb0b301',
          state: {
            status: 'pending',
            input: {},
            raw: '',
          },
        },
        time: 1795343540156,
      },
    },
  },
  'question.asked': {
    directory: '/tmp/opencode-home-CvzGGb/project',
    project: 'global',
    payload: {
      id: 'evt_202d05fc7002M770oaVLYT4ex9',
      type: 'question.asked',
      properties: {
        id: 'que_202d05fc7001kO1aTKkQnGfBxR',
        sessionID: 'ses_dfd2facc5ffeXnGCOZZ1qWPItr',
        questions: [
          {
            question: 'Which way?',
            header: 'Way',
            options: [
              {
                label: 'left',
                description: 'Go left',
              },
              {
                label: 'right',
                description: 'Go right',
              },
            ],
          },
        ],
        tool: {
          messageID: 'msg_202d059b8001D6pfWP6m08gI6D',
          callID: 'call_4fb0b301',
        },
      },
    },
  },
  'message.part.updated:tool:running:question': {
    directory: '/tmp/opencode-home-CvzGGb/project',
    project: 'global',
    payload: {
      id: 'evt_202d05fd6001r9bGgZ4ce2D6Vr',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2facc5ffeXnGCOZZ1qWPItr',
        part: {
          type: 'tool',
          tool: 'question',
          callID: 'call_4fb0b301',
          state: {
            status: 'running',
            input: {
              questions: [
                {
                  question: 'Which way?',
                  header: 'Way',
                  options: [
                    {
                      label: 'left',
                      description: 'Go left',
                    },
                    {
                      label: 'right',
                      description: 'Go right',
                    },
                  ],
                },
              ],
            },
            time: {
              start: 1795343540182,
            },
          },
          id: 'prt_202d05fbc001t6C8aUfUmiLxzj',
          sessionID: 'ses_dfd2facc5ffeXnGCOZZ1qWPItr',
          messageID: 'msg_202d059b8001D6pfWP6m08gI6D',
        },
        time: 1795343540182,
      },
    },
  },
  'message.part.updated:reasoning::timed': {
    directory: '/tmp/opencode-home-6fdv2S/project',
    project: 'global',
    payload: {
      id: 'evt_202d2b20a0018PWz6uCDI9M8lS',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd2d59a9ffeBAPky1f8kNrRAi',
        part: {
          id: 'prt_202d2b20a001qBPEUc5k6YAqgB',
          messageID: 'msg_202d2afdd001D0qU2RuuObFhmx',
          sessionID: 'ses_dfd2d59a9ffeBAPky1f8kNrRAi',
          type: 'reasoning',
          text: '',
          time: {
            start: 1795343692298,
          },
        },
        time: 1795343692298,
      },
    },
  },
  'message.part.updated:tool:completed:task': {
    directory: '/tmp/opencode-home-RvzXCx/project',
    project: 'global',
    payload: {
      id: 'evt_202cf3ed0001ArMBxkbDMpYw6W',
      type: 'message.part.updated',
      properties: {
        sessionID: 'ses_dfd30d210ffetLdc5oXH4PkcLO',
        part: {
          type: 'tool',
          tool: 'task',
          callID: 'call_b1dfd0e8',
          state: {
            status: 'completed',
            input: {
              description: 'Test subtask',
              prompt: '[[ok]] please',
              subagent_type: 'general',
            },
            output:
              '<task id="ses_dfd30c7faffeIe9Eyh2h7BaFNY" state="completed">\n<task_result>\nAll done.\n</task_result>\n</task>',
            metadata: {
              parentSessionId: 'ses_dfd30d210ffetLdc5oXH4PkcLO',
              sessionId: 'ses_dfd30c7faffeIe9Eyh2h7BaFNY',
              model: {
                modelID: 'm1',
                providerID: 'fake',
              },
              truncated: false,
            },
            title: 'Test subtask',
            time: {
              start: 1795343464469,
              end: 1795343466192,
            },
          },
          id: 'prt_202cf37e4001nQpHv1CsKv5hLK',
          sessionID: 'ses_dfd30d210ffetLdc5oXH4PkcLO',
          messageID: 'msg_202cf342d001eDJqMvcUssQc6D',
        },
        time: 1795343466192,
      },
    },
  },
  'session.status:retry:action': {
    directory: '/tmp/opencode-home-oBFSZF/project',
    project: 'global',
    payload: {
      id: 'evt_202d17ff5001HMVYl2Zqw8ryFz',
      type: 'session.status',
      properties: {
        sessionID: 'ses_dfd2e865bffeg2Aif9mE0eh5Nr',
        status: {
          type: 'retry',
          attempt: 1,
          message: 'Free usage exceeded, subscribe to Go',
          action: {
            reason: 'free_tier_limit',
            provider: 'fake',
            title: 'Free limit reached',
            message:
              'Subscribe to OpenCode Go for reliable access to the best open-source models for $10/month.',
            label: 'subscribe',
            link: 'https://opencode.ai/go',
          },
          next: 1795343616064,
        },
      },
    },
  },
};
