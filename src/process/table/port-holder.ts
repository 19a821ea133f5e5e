/** A listening socket's owner. Without a pid: the process's descriptors may not be read, the kernel names only its user. */
export interface PortHolder {
  pid?: number;
  uid?: number;
}
