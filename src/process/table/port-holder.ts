/**
 * The owner of a listening socket. Without a pid: its descriptors cannot be read, and the kernel tells only the user.
 */
export interface PortHolder {
  pid?: number;
  uid?: number;
}
