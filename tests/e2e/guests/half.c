/* A function that is called from the debugger: the rest of travel has no floating
 * point. */
long double half(long double number) { return number / 2; }
