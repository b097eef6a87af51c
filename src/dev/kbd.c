// SPDX-License-Identifier: MIT
// The 8042 keyboard controller as PS/2 machines program it.
//
// Rules
//  1. One output buffer (port 0x60). Controller replies go in before anything from the devices;
//     a reply replaces an unread reply, but waits for an unread device byte.
//  2. After the guest has read a device byte, the next one arrives BYTE_NS later, as over a real
//     cable: interrupt handlers that read port 0x60 twice see the same byte twice (DOS programs
//     that hook INT 9 do). A byte written to a device ends the pause: answers come at once.
//  3. IRQ1 and IRQ12 are levels: output buffer full, its source, and the command byte's enable bit.
//  4. A20 has one state, the bus's. Output port and port 0x92 both show and set it.
#include "dev/kbd.h"

#include "bus/device.h"
#include "dev/ps2key.h"
#include "dev/ps2mouse.h"
#include <stdlib.h>

#define BYTE_NS 400000u        // a byte over the cable: 11 bits at 10 to 16.7 kHz, shortened

enum KbdStatus {
    STATUS_OBF = 0x01,         // output buffer full
    STATUS_SYSTEM = 0x04,      // self test passed
    STATUS_COMMAND = 0x08,     // the last write went to port 0x64
    STATUS_UNLOCKED = 0x10,    // key switch
    STATUS_AUX = 0x20,         // output buffer holds a byte from the mouse
};

enum KbdMode {                 // the command byte
    MODE_KBD_INT = 0x01,
    MODE_AUX_INT = 0x02,
    MODE_SYSTEM = 0x04,
    MODE_KBD_OFF = 0x10,
    MODE_AUX_OFF = 0x20,
    MODE_TRANSLATE = 0x40,
};

enum KbdSource { FROM_CONTROLLER, FROM_KEYBOARD, FROM_MOUSE };

enum { PORT92_RESET = 1, PORT92_A20 = 2, OUTPUT_RESET = 1, OUTPUT_A20 = 2 };

struct Kbd {
    Bus *bus;
    Wire irq1, irq12;
    Ps2Key *key;
    Ps2Mouse *mouse;
    Timer *pace;               // fires when the next device byte may enter the output buffer
    u64 hold_until_ns;         // no device byte before this
    u8 data;                   // output buffer; keeps its value after it was read
    u8 source;                 // KbdSource of `data`
    bool full;                 // `data` was not read yet
    bool reply_waiting;        // `reply` waits for the output buffer
    u8 reply;                  // controller's answer
    u8 reply_source;           // what it pretends to come from
    u8 command;                // command whose data byte is awaited at port 0x60; 0: none
    bool last_was_command;     // status bit 3
    bool tested;               // self test was run
    u8 ram[32];                // controller RAM; [0] is the command byte
    u8 port92;                 // port 0x92's bits other than A20
};

static const Field kbd_fields[] = {
    FIELD(Kbd, pace, FIELD_TIMER, 0),
    FIELD(Kbd, hold_until_ns, FIELD_UINT, 0),
    FIELD(Kbd, data, FIELD_UINT, 0),
    FIELD(Kbd, source, FIELD_UINT, FROM_CONTROLLER),
    FIELD(Kbd, full, FIELD_BOOL, 0),
    FIELD(Kbd, reply_waiting, FIELD_BOOL, 0),
    FIELD(Kbd, reply, FIELD_UINT, 0),
    FIELD(Kbd, reply_source, FIELD_UINT, 0),
    FIELD(Kbd, command, FIELD_UINT, 0),
    FIELD(Kbd, last_was_command, FIELD_BOOL, 1),
    FIELD(Kbd, tested, FIELD_BOOL, 0),
    FIELD_ARRAY(Kbd, ram, FIELD_UINT, 0),
    FIELD(Kbd, port92, FIELD_UINT, 0),
};

static void kbd_update_irq(Kbd *k) {
    bool aux = k->source == FROM_MOUSE;
    wire_set(&k->irq1, k->full && !aux && (k->ram[0] & MODE_KBD_INT));
    wire_set(&k->irq12, k->full && aux && (k->ram[0] & MODE_AUX_INT));
}

static void kbd_load(Kbd *k, u8 byte, u8 source) {
    k->data = byte;
    k->source = source;
    k->full = true;
    kbd_update_irq(k);
}

// Takes bytes from the keyboard until one is left after translation (set 2's F0 becomes bit 7).
static void kbd_load_key(Kbd *k) {
    bool release = false;
    while (ps2key_pending(k->key)) {
        u8 byte = ps2key_take(k->key);
        if (k->ram[0] & MODE_TRANSLATE) {
            if (byte == 0xf0) {
                release = true;
                continue;
            }
            byte = (u8)(ps2key_translate(byte) | (release ? 0x80 : 0));
        }
        kbd_load(k, byte, FROM_KEYBOARD);
        return;
    }
}

// Fills the output buffer if something waits and may enter.
static void kbd_fill(Kbd *k) {
    if (k->full) return;
    if (k->reply_waiting) {
        k->reply_waiting = false;
        kbd_load(k, k->reply, k->reply_source);
        return;
    }
    bool key = !(k->ram[0] & MODE_KBD_OFF) && ps2key_pending(k->key);
    bool mouse = !(k->ram[0] & MODE_AUX_OFF) && ps2mouse_pending(k->mouse);
    if (!key && !mouse) return;
    if (bus_now_ns(k->bus) < k->hold_until_ns) {
        bus_timer_at(k->pace, k->hold_until_ns);
        return;
    }
    if (key) kbd_load_key(k);
    if (!k->full && mouse) kbd_load(k, ps2mouse_take(k->mouse), FROM_MOUSE);
}

static void kbd_ready(void *self) { kbd_fill(self); }

static void kbd_reply_as(Kbd *k, u8 byte, u8 source) {
    if (k->full && k->source != FROM_CONTROLLER) {
        k->reply = byte;
        k->reply_source = source;
        k->reply_waiting = true;
        return;
    }
    // Drop the wire first: a reply over an unread reply is a new edge.
    k->full = false;
    kbd_update_irq(k);
    kbd_load(k, byte, source);
}

static void kbd_reply(Kbd *k, u8 byte) { kbd_reply_as(k, byte, FROM_CONTROLLER); }

static u8 kbd_output_port(const Kbd *k) {
    unsigned v = OUTPUT_RESET | (bus_a20(k->bus) ? OUTPUT_A20 : 0) | 0xc0;
    if (k->full) v |= k->source == FROM_MOUSE ? 0x20 : 0x10;
    return (u8)v;
}

static void kbd_write_output_port(Kbd *k, u8 value) {
    bus_set_a20(k->bus, value & OUTPUT_A20);
    if (!(value & OUTPUT_RESET)) bus_request(k->bus, BUS_REQ_RESET);
}

static void kbd_set_mode(Kbd *k, u8 mode) {
    k->ram[0] = mode;
    if (mode & MODE_SYSTEM) k->tested = true;
    kbd_update_irq(k);
    kbd_fill(k);
}

// Port 0x64, commands 0xa0..0xff without a data byte.
static void kbd_command(Kbd *k, u8 cmd) {
    switch (cmd) {
    case 0xa1: kbd_reply(k, 0x00); break;                        // firmware version
    case 0xa4: kbd_reply(k, 0xf1); break;                        // no password is set
    case 0xa7: kbd_set_mode(k, k->ram[0] | MODE_AUX_OFF); break;
    case 0xa8: kbd_set_mode(k, k->ram[0] & (u8)~MODE_AUX_OFF); break;
    case 0xa9: kbd_reply(k, 0x00); break;                        // mouse port test: good
    case 0xaa: k->tested = true; kbd_reply(k, 0x55); break;      // self test: good
    case 0xab: kbd_reply(k, 0x00); break;                        // keyboard port test: good
    case 0xad: kbd_set_mode(k, k->ram[0] | MODE_KBD_OFF); break;
    case 0xae: kbd_set_mode(k, k->ram[0] & (u8)~MODE_KBD_OFF); break;
    case 0xc0: kbd_reply(k, 0x80); break;                        // input port: key switch unlocked
    case 0xd0: kbd_reply(k, kbd_output_port(k)); break;
    case 0xdd: bus_set_a20(k->bus, false); break;
    case 0xdf: bus_set_a20(k->bus, true); break;
    case 0xe0: kbd_reply(k, 0x00); break;                        // test inputs: clocks low
    default:
        if (cmd >= 0xf0) {                                       // pulse output lines, active low
            if (!(cmd & 1)) bus_request(k->bus, BUS_REQ_RESET);
        } else {
            log_guest_error(bus_log(k->bus), "kbd", "unknown controller command 0x%02x", cmd);
        }
    }
}

static bool kbd_takes_data(u8 cmd) {
    return (cmd >= 0x60 && cmd <= 0x7f) || (cmd >= 0xd1 && cmd <= 0xd4) || cmd == 0xa5 ||
           cmd == 0xcb;
}

static void kbd_write_command(Kbd *k, u8 cmd) {
    k->last_was_command = true;
    k->command = 0;
    if (cmd >= 0x20 && cmd <= 0x3f) {
        kbd_reply(k, k->ram[cmd & 31]);
    } else if (kbd_takes_data(cmd)) {
        k->command = cmd;
    } else {
        kbd_command(k, cmd);
    }
}

static void kbd_write_data(Kbd *k, u8 value) {
    u8 cmd = k->command;
    k->last_was_command = false;
    // A5 loads a password: bytes up to a zero belong to it.
    k->command = cmd == 0xa5 && value != 0 ? cmd : 0;
    if (cmd >= 0x60 && cmd <= 0x7f) {
        if (cmd == 0x60) kbd_set_mode(k, value);
        else k->ram[cmd & 31] = value;
        return;
    }
    switch (cmd) {
    case 0xa5: case 0xcb: break;
    case 0xd1: kbd_write_output_port(k, value); break;
    case 0xd2: kbd_reply_as(k, value, FROM_KEYBOARD); break;
    case 0xd3: kbd_reply_as(k, value, FROM_MOUSE); break;
    case 0xd4:
        k->ram[0] &= (u8)~MODE_AUX_OFF;                          // sending turns the port on
        k->hold_until_ns = 0;
        ps2mouse_write(k->mouse, value);
        break;
    default:
        k->ram[0] &= (u8)~MODE_KBD_OFF;
        k->hold_until_ns = 0;
        ps2key_write(k->key, value);
    }
    kbd_fill(k);
}

static u8 kbd_read_data(Kbd *k) {
    u8 value = k->data;
    if (!k->full) return value;
    k->full = false;
    if (k->source != FROM_CONTROLLER) k->hold_until_ns = bus_now_ns(k->bus) + BYTE_NS;
    kbd_update_irq(k);
    kbd_fill(k);
    return value;
}

static u8 kbd_status(const Kbd *k) {
    unsigned v = STATUS_UNLOCKED;
    if (k->full) v |= STATUS_OBF | (k->source == FROM_MOUSE ? STATUS_AUX : 0);
    if (k->tested) v |= STATUS_SYSTEM;
    if (k->last_was_command) v |= STATUS_COMMAND;
    return (u8)v;
}

static u32 kbd_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Kbd *k = self;
    return port == 0x60 ? kbd_read_data(k) : kbd_status(k);
}

static void kbd_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    if (port == 0x60) kbd_write_data(self, (u8)value);
    else kbd_write_command(self, (u8)value);
}

static u32 kbd_in92(void *self, u16 port, unsigned size_bytes) {
    (void)port, (void)size_bytes;
    Kbd *k = self;
    return k->port92 | (bus_a20(k->bus) ? PORT92_A20 : 0);
}

static void kbd_out92(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    Kbd *k = self;
    bool rising = (value & PORT92_RESET) && !(k->port92 & PORT92_RESET);
    k->port92 = (u8)(value & (u8)~PORT92_A20);
    bus_set_a20(k->bus, value & PORT92_A20);
    if (rising) bus_request(k->bus, BUS_REQ_RESET);
}

static void kbd_reset(void *self) {
    Kbd *k = self;
    k->ram[0] = MODE_KBD_INT | MODE_AUX_INT;
    bus_set_a20(k->bus, true);
    kbd_update_irq(k);
}

static void kbd_loaded(void *self) { kbd_update_irq(self); }

static void kbd_info(void *self, FILE *out) {
    Kbd *k = self;
    fprintf(out, "status=%02x command byte=%02x output port=%02x leds=%x\n", kbd_status(k),
            k->ram[0], kbd_output_port(k), ps2key_leds(k->key));
}

static const DeviceClass kbd_class = {
    "kbd", kbd_fields, ARRAY_LEN(kbd_fields), kbd_reset, kbd_loaded, kbd_info,
};

Kbd *kbd_new(Bus *bus, Wire irq1, Wire irq12) {
    Kbd *k = mem_new(sizeof(*k));
    *k = (Kbd){ .bus = bus, .irq1 = irq1, .irq12 = irq12 };
    k->pace = bus_timer_new(bus, "kbd", kbd_ready, k);
    k->key = ps2key_new(bus, kbd_ready, k);
    k->mouse = ps2mouse_new(bus, kbd_ready, k);
    device_add(bus, &kbd_class, NULL, k);
    BusPort data = { "kbd", k, 1, kbd_in, kbd_out };
    bus_map_ports(bus, 0x60, 1, &data);
    bus_map_ports(bus, 0x64, 1, &data);
    BusPort fast = { "port92", k, 1, kbd_in92, kbd_out92 };
    bus_map_ports(bus, 0x92, 1, &fast);
    return k;
}

void kbd_free(Kbd *k) {
    if (!k) return;
    ps2key_free(k->key);
    ps2mouse_free(k->mouse);
    free(k);
}

void kbd_key(Kbd *k, unsigned code, bool down) { ps2key_event(k->key, code, down); }

void kbd_mouse(Kbd *k, int dx, int dy, int dz, unsigned buttons) {
    ps2mouse_event(k->mouse, dx, dy, dz, buttons);
}

unsigned kbd_leds(const Kbd *k) { return ps2key_leds(k->key); }
