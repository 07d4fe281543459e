/* The model where the linker script wants it, aligned as kernels like it (SHIFT, of tests: bytes off that); what the camera sees. */
        .section .model, "a"
        .balign 64
#ifdef SHIFT
        .space SHIFT
#endif
        .global model, model_end
model:
        .incbin MODEL
model_end:

#ifdef FRAME
        .section .rodata
        .balign 4
        .global frame
frame:
        .incbin FRAME
#endif

#ifdef __linux__
        .section .note.GNU-stack, "", %progbits
#endif
