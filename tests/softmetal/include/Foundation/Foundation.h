/* The part of Apple's Foundation that the shim uses, for Linux, on the runtime of GCC.
 *
 * Rules: the same selectors and meanings as Apple's; manual retain and release only. NSObject holds
 * nothing but `isa`, since compilers lay out constant strings as {isa, bytes, length}: the retain
 * count stands in front of the object (foundation.m).
 */
#ifndef SOFTMETAL_FOUNDATION_H
#define SOFTMETAL_FOUNDATION_H

#include <objc/objc.h>
#include <objc/runtime.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long NSUInteger;
typedef long NSInteger;

@class NSString;

@protocol NSObject
- (id)retain;
- (oneway void)release;
- (id)autorelease;
- (NSUInteger)retainCount;
- (Class)class;
- (BOOL)isKindOfClass:(Class)class;
- (BOOL)respondsToSelector:(SEL)selector;
- (id)performSelector:(SEL)selector;
- (NSString *)description;
@end

@interface NSObject <NSObject> {
    Class isa; /* as compilers lay out constant strings */
}
+ (id)alloc;
+ (id)new;
+ (Class)class;
+ (void)initialize;
- (id)init;
- (void)dealloc;
@end

@interface NSAutoreleasePool : NSObject {
    NSAutoreleasePool *outer;
    id *objects;
    NSUInteger count, capacity;
}
+ (void)addObject:(id)object;
- (void)drain;
@end

@interface NSString : NSObject
+ (id)stringWithUTF8String:(const char *)text;
- (id)initWithUTF8String:(const char *)text;
- (const char *)UTF8String;
- (NSUInteger)length;
- (BOOL)isEqualToString:(NSString *)other;
@end

@interface NSConstantString : NSString {
    char *bytes;
    unsigned int size;
}
@end

@interface NSError : NSObject {
    NSString *text;
}
+ (id)errorWithText:(const char *)text; /* ours alone */
- (NSString *)localizedDescription;
@end

@interface NSArray : NSObject {
    id *objects;
    NSUInteger count;
}
+ (id)arrayWithObject:(id)object;
- (NSUInteger)count;
- (id)objectAtIndex:(NSUInteger)index;
@end

@interface NSURL : NSObject {
    NSString *path;
}
+ (id)fileURLWithPath:(NSString *)path;
- (NSString *)path;
@end

@interface NSProcessInfo : NSObject
+ (NSProcessInfo *)processInfo;
- (unsigned long long)physicalMemory;
@end

NSUInteger NSPageSize(void);
long softmetal_living_objects(void); /* ours alone */

#endif
