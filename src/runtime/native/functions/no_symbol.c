int handle(void);
int handle(void) { return 0; }
