//! The smallest guest that shows whether a processor gets anywhere: a 64 KiB ROM in the place of the BIOS.
//!
//! From the reset vector it goes through protected mode into 64-bit mode with paging, counts twenty million steps down
//! and writes to the debug-exit port. A KVM that only interprets instructions (nested or paravirtual ones do) starts
//! such a guest and then takes minutes: to a real kernel that is a hang.

/// Size of the ROM in bytes.
pub const ROM_BYTES: usize = 64 * 1024;
/// Port of QEMU's `isa-debug-exit` device.
pub const EXIT_PORT: u16 = 0xf4;
/// QEMU's exit status after the guest has written 0x10 to [`EXIT_PORT`]: twice the value plus one.
pub const EXIT_STATUS: i32 = 0x21;

/// `jmp 0xf000:0x0000` at the reset vector, the last 16 bytes of the ROM.
const RESET: [u8; 5] = [0xea, 0x00, 0x00, 0x00, 0xf0];

/// Runs at F000:0000. Addresses are those of the ROM's alias below 1 MiB (0xf0000).
#[rustfmt::skip]
const CODE: &[u8] = &[
    // 16-bit
    0xfa,                                                       // 00  cli
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0xb0, 0x00,                   // 01  lgdtl %cs:gdtr
    0x0f, 0x20, 0xc0,                                           // 08  mov %cr0, %eax
    0x0c, 0x01,                                                 // 0b  or $1, %al              protected mode
    0x0f, 0x22, 0xc0,                                           // 0d  mov %eax, %cr0
    0x66, 0xea, 0x18, 0x00, 0x0f, 0x00, 0x08, 0x00,             // 10  ljmpl $8, $0xf0018
    // 32-bit
    0xb8, 0x10, 0x00, 0x00, 0x00,                               // 18  mov $16, %eax
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,                         // 1d  mov %eax, %ds / %es / %ss
    0xfc,                                                       // 23  cld
    0x31, 0xc0,                                                 // 24  xor %eax, %eax
    0xbf, 0x00, 0x10, 0x00, 0x00,                               // 26  mov $0x1000, %edi       three page tables,
    0xb9, 0x00, 0x0c, 0x00, 0x00,                               // 2b  mov $0xc00, %ecx        cleared
    0xf3, 0xab,                                                 // 30  rep stosl
    0xc7, 0x05, 0x00, 0x10, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, // 32  movl $0x2003, 0x1000
    0xc7, 0x05, 0x00, 0x20, 0x00, 0x00, 0x03, 0x30, 0x00, 0x00, // 3c  movl $0x3003, 0x2000
    0xc7, 0x05, 0x00, 0x30, 0x00, 0x00, 0x83, 0x00, 0x00, 0x00, // 46  movl $0x83, 0x3000      one 2 MiB page
    0xb8, 0x20, 0x00, 0x00, 0x00,                               // 50  mov $0x20, %eax         PAE
    0x0f, 0x22, 0xe0,                                           // 55  mov %eax, %cr4
    0xb8, 0x00, 0x10, 0x00, 0x00,                               // 58  mov $0x1000, %eax
    0x0f, 0x22, 0xd8,                                           // 5d  mov %eax, %cr3
    0xb9, 0x80, 0x00, 0x00, 0xc0,                               // 60  mov $0xc0000080, %ecx   EFER
    0x0f, 0x32,                                                 // 65  rdmsr
    0x80, 0xcc, 0x01,                                           // 67  or $1, %ah              long mode
    0x0f, 0x30,                                                 // 6a  wrmsr
    0x0f, 0x20, 0xc0,                                           // 6c  mov %cr0, %eax
    0x0d, 0x00, 0x00, 0x00, 0x80,                               // 6f  or $0x80000000, %eax    paging
    0x0f, 0x22, 0xc0,                                           // 74  mov %eax, %cr0
    0xea, 0x7e, 0x00, 0x0f, 0x00, 0x18, 0x00,                   // 77  ljmpl $24, $0xf007e
    // 64-bit
    0xb9, 0x00, 0x2d, 0x31, 0x01,                               // 7e  mov $20000000, %ecx
    0xff, 0xc9,                                                 // 83  dec %ecx
    0x75, 0xfc,                                                 // 85  jnz 83
    0xb0, 0x10,                                                 // 87  mov $0x10, %al
    0xe6, 0xf4,                                                 // 89  out %al, $0xf4
    0xf4,                                                       // 8b  hlt
    0xeb, 0xfd,                                                 // 8c  jmp 8b
    0x66, 0x90,                                                 // 8e  padding
    // The segments are marked accessed: the processor would otherwise write that mark into the ROM.
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,             // 90  gdt: none
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00,             // 98       8: 32-bit code
    0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00,             // a0      16: data
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xaf, 0x00,             // a8      24: 64-bit code
    0x1f, 0x00, 0x90, 0x00, 0x0f, 0x00,                         // b0  gdtr: limit 0x1f, base 0xf0090
];

/// The guest that counts and exits.
#[must_use]
pub fn counting() -> Vec<u8> {
    rom(CODE)
}

/// A ROM that runs `code` at F000:0000 in 16-bit mode.
#[must_use]
pub fn rom(code: &[u8]) -> Vec<u8> {
    let mut rom = code.to_vec();
    rom.resize(ROM_BYTES - 16, 0);
    rom.extend_from_slice(&RESET);
    rom.resize(ROM_BYTES, 0);
    rom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rom_has_its_size_and_jumps_to_its_start() {
        let rom = counting();
        assert_eq!(rom.len(), ROM_BYTES);
        assert_eq!(&rom[..CODE.len()], CODE);
        assert_eq!(&rom[0xfff0..0xfff5], [0xea, 0, 0, 0, 0xf0]);
    }

    #[test]
    fn the_addresses_in_the_code_are_where_its_comments_say() {
        assert_eq!(CODE.len(), 0xb6);
        assert_eq!(&CODE[0x18..0x1d], [0xb8, 0x10, 0, 0, 0], "32-bit entry");
        assert_eq!(&CODE[0x7e..0x83], [0xb9, 0x00, 0x2d, 0x31, 0x01], "64-bit entry, 20,000,000");
        assert_eq!(&CODE[0xb0..0xb2], [0x1f, 0x00], "descriptor of the segment table");
    }
}
