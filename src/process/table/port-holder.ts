/**
 * The owner of a listening socket. The pid is absent if the process's descriptors cannot be read: then the kernel tells
 * only the user.
 */
export interface PortHolder {
  pid?: number;
  uid?: number;
}
