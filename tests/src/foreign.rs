//! A foreign initial RAM disk: what a hostile host would like to run in the place of our program.

use initramfs::{Contents, List};

/// What the foreign program prints before it powers the machine off.
pub const MARK: &str = "FOREIGN INIT RUNS";

/// A whole static program: writes [`MARK`] to its console and powers off.
///
/// One ELF header, one program header, two system calls (`write`, `reboot`), assembled by hand so that the test needs no compiler.
#[must_use]
pub fn program() -> Vec<u8> {
    let message = format!("{MARK}\n");
    let mut code = Vec::new();
    code.extend([0xb8, 1, 0, 0, 0]); // mov eax, 1 (write)
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    let lea = code.len();
    code.extend([0x48, 0x8d, 0x35, 0, 0, 0, 0]); // lea rsi, [rip + message]
    code.push(0xba);
    code.extend(u32::try_from(message.len()).unwrap_or(0).to_le_bytes()); // mov edx, length
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 169, 0, 0, 0]); // mov eax, 169 (reboot)
    code.extend([0xbf, 0xad, 0xde, 0xe1, 0xfe]); // mov edi, LINUX_REBOOT_MAGIC1
    code.extend([0xbe, 0x69, 0x19, 0x12, 0x28]); // mov esi, LINUX_REBOOT_MAGIC2
    code.extend([0xba, 0xdc, 0xfe, 0x21, 0x43]); // mov edx, LINUX_REBOOT_CMD_POWER_OFF
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xeb, 0xfe]); // jmp to itself
    let offset = u32::try_from(code.len() - (lea + 7)).unwrap_or(0);
    code[lea + 3..lea + 7].copy_from_slice(&offset.to_le_bytes());
    code.extend(message.as_bytes());

    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 0x40 + 0x38;
    let size = HEADERS + code.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, 0x3e, 0, 1, 0, 0, 0]); // executable, x86-64
    elf.extend((BASE + HEADERS).to_le_bytes()); // entry
    elf.extend(0x40_u64.to_le_bytes()); // program headers
    elf.extend([0; 12]); // no sections, no flags
    elf.extend([0x40, 0, 0x38, 0, 1, 0, 0x40, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, read and execute
    for field in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// The archive: the foreign program as `/init`, with the console it writes to.
///
/// # Panics
/// When our own writer refuses the list.
#[must_use]
pub fn archive() -> Vec<u8> {
    let list = "dir /dev 0755 0 0\nnod /dev/console 0600 0 0 c 5 1\nfile /init ${FOREIGN} 0755 0 0\n";
    let list = List::parse(&[list]).expect("the list is well formed");
    list.archive(&Contents::from([("FOREIGN", program().as_slice())])).expect("the archive is written")
}
