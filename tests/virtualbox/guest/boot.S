/* Boot sector: load the rest of the guest from the disk, enter 32-bit mode, jump to it. */
    .code16
    .section .boot, "ax"
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movw $packet, %si
    movb $0x42, %ah             /* extended read from the disk that we came from, still in DL */
    int $0x13
    inb $0x92, %al              /* A20 */
    orb $2, %al
    outb %al, $0x92
    lgdt gdt_pointer
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmp $8, $protected

    .code32
protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x90000, %esp
    call guest
halt:
    hlt
    jmp halt

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
gdt_pointer:
    .word 23
    .long gdt
packet:
    .byte 16, 0
    .word 32                    /* sectors */
    .word 0x7e00, 0             /* where to */
    .quad 1                     /* from */

    .org 510
    .word 0xaa55
