/* Foundation for Linux: what the shim needs, on the runtime of GCC.
 *
 * Rules: the retain count stands in the 16 bytes in front of an object, so that an object begins
 * with `isa` and constant strings, which compilers lay out, need no more. Counts are atomic.
 */
#import <Foundation/Foundation.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 16 };

static long living; /* objects */

/* For tests, which see by it that nothing leaks. */
long softmetal_living_objects(void) { return __atomic_load_n(&living, __ATOMIC_RELAXED); }

static int *count_of(id object) { return (int *)((char *)object - HEAD); }

@implementation NSObject
+ (id)alloc {
    char *memory = calloc(1, HEAD + class_getInstanceSize(self));
    id object = (id)(memory + HEAD);
    *(Class *)(void *)object = self;
    *count_of(object) = 1;
    __atomic_add_fetch(&living, 1, __ATOMIC_RELAXED);
    return object;
}
+ (id)new {
    return [[self alloc] init];
}
+ (Class)class {
    return self;
}
+ (void)initialize {
}
- (id)init {
    return self;
}
- (void)dealloc {
    __atomic_sub_fetch(&living, 1, __ATOMIC_RELAXED);
    free((char *)self - HEAD);
}
- (id)retain {
    __atomic_add_fetch(count_of(self), 1, __ATOMIC_RELAXED);
    return self;
}
- (oneway void)release {
    if (__atomic_sub_fetch(count_of(self), 1, __ATOMIC_ACQ_REL) == 0)
        [self dealloc];
}
- (id)autorelease {
    [NSAutoreleasePool addObject:self];
    return self;
}
- (NSUInteger)retainCount {
    return (NSUInteger)__atomic_load_n(count_of(self), __ATOMIC_RELAXED);
}
- (Class)class {
    return isa;
}
- (BOOL)isKindOfClass:(Class)class {
    Class each;
    for (each = isa; each; each = class_getSuperclass(each))
        if (each == class)
            return YES;
    return NO;
}
- (BOOL)respondsToSelector:(SEL)selector {
    return class_respondsToSelector(isa, selector);
}
- (id)performSelector:(SEL)selector {
    IMP method = class_getMethodImplementation(isa, selector);
    return ((id (*)(id, SEL))method)(self, selector);
}
- (NSString *)description {
    return [NSString stringWithUTF8String:class_getName(isa)];
}
@end

static __thread NSAutoreleasePool *innermost;

@implementation NSAutoreleasePool
- (id)init {
    outer = innermost;
    innermost = self;
    return self;
}
/* Without a pool an object leaks, as with Apple's; the shim's tests count on none. */
+ (void)addObject:(id)object {
    NSAutoreleasePool *pool = innermost;
    if (!pool)
        return;
    if (pool->count == pool->capacity) {
        pool->capacity = pool->capacity ? 2 * pool->capacity : 16;
        pool->objects = realloc(pool->objects, pool->capacity * sizeof(id));
    }
    pool->objects[pool->count++] = object;
}
- (void)drain {
    [self release];
}
- (void)dealloc {
    NSUInteger i;
    while (innermost != self)
        [innermost release];
    for (i = 0; i < count; i++)
        [objects[i] release];
    free(objects);
    innermost = outer;
    [super dealloc];
}
@end

@interface HeapString : NSString {
  @public
    char *text;
}
@end

@implementation NSString
+ (id)alloc {
    return self == [NSString class] ? [HeapString alloc] : [super alloc];
}
+ (id)stringWithUTF8String:(const char *)text {
    return [[[self alloc] initWithUTF8String:text] autorelease];
}
- (id)initWithUTF8String:(const char *)text {
    (void)text;
    return self;
}
- (const char *)UTF8String {
    return "";
}
- (NSUInteger)length {
    return strlen([self UTF8String]);
}
- (BOOL)isEqualToString:(NSString *)other {
    return other && strcmp([self UTF8String], [other UTF8String]) == 0;
}
- (NSString *)description {
    return self;
}
@end

/* Whether text is UTF-8, as Apple's NSString demands. */
static BOOL is_utf8(const unsigned char *text) {
    while (*text) {
        int more = *text < 0x80    ? 0
                   : *text >= 0xf0 ? 3
                   : *text >= 0xe0 ? 2
                   : *text >= 0xc2 ? 1
                                   : -1;
        if (more < 0 || *text > 0xf4)
            return NO;
        for (text++; more > 0; more--)
            if ((*text++ & 0xc0) != 0x80)
                return NO;
    }
    return YES;
}

@implementation HeapString
- (id)initWithUTF8String:(const char *)given {
    if (!given || !is_utf8((const unsigned char *)given)) {
        [self release];
        return nil;
    }
    text = strdup(given);
    return self;
}
- (const char *)UTF8String {
    return text;
}
- (void)dealloc {
    free(text);
    [super dealloc];
}
@end

@implementation NSConstantString
- (const char *)UTF8String {
    return bytes;
}
- (id)retain {
    return self;
}
- (oneway void)release {
}
- (id)autorelease {
    return self;
}
- (NSUInteger)retainCount {
    return (NSUInteger)-1;
}
@end

@implementation NSError
+ (id)errorWithText:(const char *)text {
    NSError *error = [[NSError new] autorelease];
    error->text = [[NSString stringWithUTF8String:text] retain];
    return error;
}
- (NSString *)localizedDescription {
    return text;
}
- (NSString *)description {
    return text;
}
- (void)dealloc {
    [text release];
    [super dealloc];
}
@end

@implementation NSArray
+ (id)arrayWithObject:(id)object {
    NSArray *array = [[NSArray new] autorelease];
    array->objects = malloc(sizeof(id));
    array->objects[0] = [object retain];
    array->count = 1;
    return array;
}
- (NSUInteger)count {
    return count;
}
- (id)objectAtIndex:(NSUInteger)index {
    return index < count ? objects[index] : nil;
}
- (void)dealloc {
    NSUInteger i;
    for (i = 0; i < count; i++)
        [objects[i] release];
    free(objects);
    [super dealloc];
}
@end

@implementation NSURL
+ (id)fileURLWithPath:(NSString *)path {
    if (!path)
        abort(); /* Apple's raises an exception */
    NSURL *url = [[NSURL new] autorelease];
    url->path = [path retain];
    return url;
}
- (NSString *)path {
    return path;
}
- (void)dealloc {
    [path release];
    [super dealloc];
}
@end

@implementation NSProcessInfo
+ (NSProcessInfo *)processInfo {
    return [[NSProcessInfo new] autorelease];
}
- (unsigned long long)physicalMemory {
    return (unsigned long long)sysconf(_SC_PHYS_PAGES) * (unsigned long long)sysconf(_SC_PAGESIZE);
}
@end

/* Of Apple's processors: what is aligned for them is aligned here. */
NSUInteger NSPageSize(void) { return 16384; }
