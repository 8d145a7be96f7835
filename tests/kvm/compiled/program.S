# Calls a compiled program, which must leave a result.
#include "guest64.inc"

main:
    sub $8, %rsp
    call program
    add $8, %rsp
    cmpq $0, result
    CHECK(ne)
    ret
