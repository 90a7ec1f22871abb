/* Makes the clock of a program that loads this go an hour ahead, for `redis.rs`. */
#include <sys/time.h>
#include <time.h>

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec real;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &real);
    now->tv_sec = real.tv_sec + 3600;
    now->tv_usec = real.tv_nsec / 1000;
    return 0;
}
