/* A program to step through in both directions: loops, calls, recursion, and an
 * optional timer that interrupts it all the time. The tests find lines by the
 * words in their comments. */
typedef struct {
  int values[8];
  int sum;
} Table;

Table table;
int result;
int counted;
volatile unsigned ticks;

static int square(int n) {
  int product = n * n; /* in square */
  return product;
}

static void fill(Table *t) {
  for (int i = 0; i < 8; ++i) {
    t->values[i] = square(i); /* loop body */
  }
}

static int add_up(Table *t) {
  t->sum = 0;
  for (int i = 0; i < 8; ++i) {
    t->sum += t->values[i]; /* adding */
  }
  return t->sum; /* added */
}

int factorial(int n) {
  if (n <= 1) return 1; /* base */
  int rest = factorial(n - 1); /* recursive call */
  return n * rest; /* after recursion */
}

int spin(int rounds) {
  int sum = 0;
  for (int i = 0; i < rounds; ++i) {
    sum += i & 3; /* spinning */
  }
  return sum; /* spun */
}

void c_main(void) {
  fill(&table); /* first */
  result = add_up(&table); /* second */
  int f = factorial(5); /* third */
  result += f; /* fourth */
  counted = spin(20000); /* fifth */
  result = 1; /* sixth */
}
