/** The question that every request asks before it carries a password: who would get it? */

interface Where {
  /** The address to connect to if the URL says `localhost`. If this is absent: 127.0.0.1. */
  hostname?: '::1';
}

/** `why` names who would have got the password, and which setting allows that. */
export type Authorisation = Where & ({ kind: 'granted' } | { kind: 'withheld'; why: string });

/** Asked before each request, and before each connection of an event stream. Never rejects. */
export type Authorise = () => Promise<Authorisation>;
