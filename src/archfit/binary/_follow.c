/* The hot loop of fatbin.walk_containers for files on a descriptor, without Python between one header and the next.
 *
 * It decides nothing: it follows containers as long as all is as usual, and stops in front of the first one that is not.
 * What an entry of a kind not met before is, it asks Python, once for each kind. Of all else (parts of several objects, what
 * does not fit, the end) Python says what it is or what is wrong with it. Without this module Python does all of it, with
 * the same answer.
 *
 * Every number out of the file is checked before it is added to an offset; reads go to one buffer of fixed size.
 */
#define _FILE_OFFSET_BITS 64
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the fields of a fatbin are little-endian and are read as they are"
#endif

enum {
    CONTAINER_BYTES = 16, /* magic, version, size of this header: 8 bytes; size of what follows: 8 bytes */
    ENTRY_BYTES = 64,
    HEAD_BYTES = CONTAINER_BYTES + ENTRY_BYTES,
    LARGEST_GAP = 24,
    LARGEST_HEADER = 1 << 24,
    PAGE = 4096,
    MOST_ROWS = 256,
    MOST_CONTAINERS = 512, /* in one call, as are the entries */
    MOST_ENTRIES = 4096,
    READS_BETWEEN_SIGNALS = 32, /* each may wait for a disk: Ctrl-C is heard among them */
};
static const uint8_t START[8] = {0x50, 0xed, 0x55, 0xba, 0x01, 0x00, 0x10, 0x00};
static const int64_t LARGEST = INT64_C(1) << 62;

typedef struct {
    uint64_t kind, made_for, flags; /* what distinguishes entries */
    uint64_t smallest;              /* size from which on the entry is `full`, else `empty` */
    uint32_t empty, full;
} Row;

typedef struct {
    int descriptor;
    int64_t start, end; /* what the buffer holds */
    uint8_t bytes[PAGE];
} Window;

typedef struct {
    int64_t offset, end;
    uint32_t entries;
} Found;

typedef struct {
    Row rows[MOST_ROWS];
    int row_count;
    Window window;
    Found found[MOST_CONTAINERS];
    uint32_t numbers[MOST_ENTRIES];
    int found_count, number_count;
    unsigned reads;
    PyObject *describe; /* a kind that `rows` lacks -> its row, or None: leave it to the other loop */
    PyThreadState *thread; /* of Python, which goes on with others meanwhile */
    bool failed;           /* with an exception of Python */
} Walk;

static bool is_interrupted(Walk *walk)
{
    PyEval_RestoreThread(walk->thread);
    walk->failed = PyErr_CheckSignals() < 0;
    walk->thread = PyEval_SaveThread();
    return walk->failed;
}

/* `size` bytes at `offset`, or NULL where the file has fewer. Headers that stand close together come with the rest of their page,
 * for calls cost more than bytes; of the others nothing but themselves is copied. */
static const uint8_t *look(Walk *walk, int64_t offset, int64_t size)
{
    Window *window = &walk->window;
    if (offset < window->start || offset + size > window->end) {
        if (++walk->reads % READS_BETWEEN_SIGNALS == 0 && is_interrupted(walk))
            return NULL;
        bool near = offset - window->start < PAGE;
        int64_t rest = PAGE - offset % PAGE;
        ssize_t got = pread(window->descriptor, window->bytes, (size_t)(near && rest > size ? rest : size), (off_t)offset);
        window->start = offset;
        window->end = offset + (got > 0 ? got : 0);
        if (offset + size > window->end)
            return NULL;
    }
    return window->bytes + (offset - window->start);
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static bool take_row(Row *row, PyObject *key, PyObject *value)
{
    unsigned long long kind, made_for, flags, smallest;
    unsigned int empty, full;
    if (!PyTuple_Check(key) || !PyTuple_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "rows are tuples of numbers by tuples of numbers");
        return false;
    }
    if (!PyArg_ParseTuple(key, "KKK", &kind, &made_for, &flags) ||
        !PyArg_ParseTuple(value, "IIK", &empty, &full, &smallest))
        return false;
    *row = (Row){kind, made_for, flags, smallest, empty, full};
    return true;
}

static const Row *describe(Walk *walk, uint64_t kind, uint64_t made_for, uint64_t flags)
{
    if (walk->row_count == MOST_ROWS)
        return NULL;
    PyEval_RestoreThread(walk->thread);
    Row *row = &walk->rows[walk->row_count];
    PyObject *key = Py_BuildValue("KKK", (unsigned long long)kind, (unsigned long long)made_for, (unsigned long long)flags);
    PyObject *value = key ? PyObject_CallFunctionObjArgs(walk->describe, key, NULL) : NULL;
    bool known = value && value != Py_None && take_row(row, key, value);
    walk->failed = PyErr_Occurred() != NULL;
    Py_XDECREF(value);
    Py_XDECREF(key);
    walk->thread = PyEval_SaveThread();
    walk->row_count += known;
    return known ? row : NULL;
}

/* The row of an entry, or NULL. Entries of one kind come in the same order again and again: try the next one first. */
static const Row *row_of(Walk *walk, const uint8_t *entry, int *last)
{
    uint64_t kind = u32(entry), made_for = u64(entry + 24), flags = u64(entry + 40);
    for (int tried = 0, i = *last + 1; tried < walk->row_count; tried++, i++) {
        const Row *row = &walk->rows[i < walk->row_count ? i : (i = 0)];
        if (row->kind == kind && row->made_for == made_for && row->flags == flags) {
            *last = i;
            return row;
        }
    }
    return describe(walk, kind, made_for, flags);
}

/* The container at `offset`: adds its entries to `numbers` and returns the offset behind it, or -1 to leave it to Python. */
static int64_t follow_one(Walk *walk, int64_t offset, int64_t limit, int *last)
{
    const uint8_t *head = look(walk, offset, CONTAINER_BYTES);
    if (!head || memcmp(head, START, sizeof START) != 0)
        return -1;
    uint64_t size = u64(head + 8);
    int64_t position = offset + CONTAINER_BYTES;
    if (position > limit || size > (uint64_t)(limit - position))
        return -1;
    int64_t end = position + (int64_t)size;
    while (position < end) {
        const uint8_t *entry = look(walk, position, ENTRY_BYTES);
        if (!entry || walk->number_count == MOST_ENTRIES)
            return -1;
        uint64_t header = u32(entry + 4), payload = u64(entry + 8), plain = u64(entry + 56);
        uint64_t room = (uint64_t)(end - position);
        if (header < ENTRY_BYTES || header > LARGEST_HEADER || header > room || payload > room - header)
            return -1;
        const Row *row = row_of(walk, entry, last);
        if (!row)
            return -1;
        walk->numbers[walk->number_count++] = (plain ? plain : payload) >= row->smallest ? row->full : row->empty;
        position += (int64_t)(header + payload);
    }
    return end;
}

/* Offset of the container at `offset` or behind a few zeros, or -1. */
static int64_t behind_gap(Walk *walk, int64_t offset, int64_t limit)
{
    for (int64_t gap = 0; gap <= LARGEST_GAP && offset < limit; gap += 8, offset += 8) {
        const uint8_t *at = look(walk, offset, limit - offset < HEAD_BYTES ? 8 : HEAD_BYTES);
        if (!at)
            return -1;
        if (memcmp(at, START, sizeof START) == 0)
            return offset;
        if (u64(at) != 0)
            return -1;
    }
    return -1;
}

static int64_t follow_all(Walk *walk, int64_t offset, int64_t limit)
{
    int last = -1;
    while (offset < limit && walk->found_count < MOST_CONTAINERS) {
        int before = walk->number_count;
        int64_t start = behind_gap(walk, offset, limit);
        int64_t end = start < 0 ? -1 : follow_one(walk, start, limit, &last);
        if (end < 0) {
            walk->number_count = before;
            break;
        }
        walk->found[walk->found_count++] = (Found){start, end, (uint32_t)(walk->number_count - before)};
        offset = end;
    }
    return offset;
}

static PyObject *told_numbers(const uint32_t *number, uint32_t count)
{
    PyObject *numbers = PyTuple_New(count);
    for (uint32_t n = 0; numbers && n < count; n++) {
        PyObject *one = PyLong_FromUnsignedLong(number[n]);
        if (!one || PyTuple_SetItem(numbers, n, one) < 0)
            Py_CLEAR(numbers);
    }
    return numbers;
}

static PyObject *told_place(const Found *found, PyObject *numbers)
{
    PyObject *place = PyTuple_New(3), *offset = PyLong_FromLongLong(found->offset), *end = PyLong_FromLongLong(found->end);
    if (!place || !offset || !end) {
        Py_XDECREF(place);
        Py_XDECREF(offset);
        Py_XDECREF(end);
        return NULL;
    }
    PyTuple_SetItem(place, 0, offset);
    PyTuple_SetItem(place, 1, end);
    PyTuple_SetItem(place, 2, Py_NewRef(numbers));
    return place;
}

/* [(offset, end, (number, ...)), ...]; containers that follow each other and hold the same share their numbers. */
static PyObject *told(const Walk *walk)
{
    PyObject *places = PyList_New(walk->found_count), *numbers = NULL;
    const uint32_t *number = walk->numbers, *shared = NULL;
    uint32_t entries = 0;
    for (int i = 0; places && i < walk->found_count; i++) {
        const Found *found = &walk->found[i];
        if (!shared || entries != found->entries || memcmp(shared, number, entries * sizeof *number) != 0) {
            Py_XDECREF(numbers);
            numbers = told_numbers(number, found->entries);
            shared = number;
            entries = found->entries;
        }
        number += found->entries;
        PyObject *place = numbers ? told_place(found, numbers) : NULL;
        if (!place || PyList_SetItem(places, i, place) < 0)
            Py_CLEAR(places);
    }
    Py_XDECREF(numbers);
    return places;
}

static PyObject *follow(PyObject *module, PyObject *args)
{
    (void)module;
    int descriptor;
    long long offset, limit;
    PyObject *rows, *describe_new, *key, *value;
    if (!PyArg_ParseTuple(args, "iO!OLL", &descriptor, &PyDict_Type, &rows, &describe_new, &offset, &limit))
        return NULL;
    if (PyDict_Size(rows) > MOST_ROWS || offset < 0 || offset > limit || limit > LARGEST)
        return Py_BuildValue("([]L)", offset);
    Walk *walk = PyMem_Malloc(sizeof *walk);
    if (!walk)
        return PyErr_NoMemory();
    walk->row_count = walk->found_count = walk->number_count = 0;
    walk->reads = 0;
    walk->window.descriptor = descriptor;
    walk->window.start = walk->window.end = 0;
    walk->describe = describe_new;
    walk->failed = false;
    for (Py_ssize_t at = 0; !walk->failed && PyDict_Next(rows, &at, &key, &value);)
        walk->failed = !take_row(&walk->rows[walk->row_count++], key, value);
    if (!walk->failed) {
        walk->thread = PyEval_SaveThread();
        offset = follow_all(walk, offset, limit);
        PyEval_RestoreThread(walk->thread);
    }
    PyObject *places = walk->failed ? NULL : told(walk);
    PyMem_Free(walk);
    return places ? Py_BuildValue("NL", places, offset) : NULL;
}

static PyMethodDef METHODS[] = {
    {"follow", follow, METH_VARARGS,
     "follow(descriptor, rows, describe, offset, limit) -> (places, offset behind them)\n\n"
     "Containers that follow each other in a file, up to the first that is not as usual; see the head of the source."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_follow", NULL, 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__follow(void)
{
    return PyModuleDef_Init(&MODULE);
}
