"""The compiled inner loops of the voxelizer: exact scan conversion of closed triangle meshes.

Vertices are rounded to 1/4096 of a voxel on the global lattice, and all decisions about which voxel centres
a triangle's projection covers are made in integers under one half-open rule. So a closed mesh gives as many
entries as exits on every line of voxels, also where lines hit edges and vertices exactly, and a voxel's
value never depends on the box it is asked for in. The box is worked through in pencils, 16 by 16 lines along
x, that are independent of
each other: any number of threads gives the same bytes.

Scan conversion with a fill rule: Foley, van Dam, Feiner, Hughes, "Computer Graphics", section 3.5. Inside is
where the winding number is not zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit

STEPS_PER_VOXEL = 4096
STEP_BITS = 12
HALF = STEPS_PER_VOXEL // 2
#: Vertices stay within this many steps of the origin, so that products of two differences fit in 64 bits.
LARGEST_STEP = 1 << 29
#: Lines of a pencil along z and along y.
PENCIL = 16

_U = np.uint64
_MIX_A, _MIX_B = _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_ODD, _S30, _S27, _S31, _S32 = _U(0x9E3779B97F4A7C15), _U(30), _U(27), _U(31), _U(32)
_INF = np.float32(np.inf)


@njit(nogil=True, cache=True, inline="always")
def _mix(value):  # type: ignore[no-untyped-def]
    """A 64-bit hash of 64 bits (splitmix64, Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> _S30)) * _MIX_A
    value = (value ^ (value >> _S27)) * _MIX_B
    return value ^ (value >> _S31)


@njit(nogil=True, cache=True, inline="always")
def _from(steps, origin, vertex):  # type: ignore[no-untyped-def]
    """One vertex relative to another."""
    return (
        float(steps[vertex, 0]) - steps[origin, 0],
        float(steps[vertex, 1]) - steps[origin, 1],
        float(steps[vertex, 2]) - steps[origin, 2],
    )


@njit(nogil=True, cache=True)
def survey(  # type: ignore[no-untyped-def]
    vertices_um,
    faces,
    vertex_start,
    face_start,
    steps_per_um,
    first,
    last,
    steps,
    keys,
    bounds,
    turns,
    faults,
):
    """Round the vertices of parts first … last - 1 to steps, bound them, and check that each part is closed.

    A mesh is closed when every edge is run through as often in one direction as in the other. That is seen
    without
    a table of edges: each edge, named by the places of its ends, adds a 64-bit hash for one direction and
    takes it away for the other, and only a closed mesh sums to zero (but for one chance in 2^64).

    steps: out, (n, 3) int32; keys: scratch, (n,) uint64; bounds: out, (p, 6) int64, lowest x, y, z, highest
    x, y, z;
    turns: out, (p,) int8: 1 faces outward, -1 inward, 0 closed but not consistently oriented; faults: out,
    (p,) int8: 1 open, 2 too far out.
    """
    for part in range(first, last):
        low = vertex_start[part]
        for axis in range(3):
            bounds[part, axis] = LARGEST_STEP
            bounds[part, axis + 3] = -LARGEST_STEP
        for vertex in range(low, vertex_start[part + 1]):
            key = _ODD
            for axis in range(3):
                place = np.rint(vertices_um[vertex, axis] * steps_per_um[axis])
                if abs(place) > LARGEST_STEP:
                    faults[part] = 2
                    place = 0.0
                step = np.int64(place)
                steps[vertex, axis] = step
                bounds[part, axis] = min(bounds[part, axis], step)
                bounds[part, axis + 3] = max(bounds[part, axis + 3], step)
                key = _mix(key ^ (_U(step) + _ODD))
            keys[vertex] = key
        directed = _U(0)
        undirected = _U(0)
        volume = 0.0
        for face in range(face_start[part], face_start[part + 1]):
            a = faces[face, 0] + low
            b = faces[face, 1] + low
            c = faces[face, 2] + low
            for side in range(3):
                tail = keys[a] if side == 0 else (keys[b] if side == 1 else keys[c])
                head = keys[b] if side == 0 else (keys[c] if side == 1 else keys[a])
                if tail < head:
                    edge = _mix(tail ^ _mix(head + _ODD))
                    directed += edge
                    undirected ^= edge
                elif head < tail:
                    edge = _mix(head ^ _mix(tail + _ODD))
                    directed -= edge
                    undirected ^= edge
            ax, ay, az = _from(steps, low, a)
            bx, by, bz = _from(steps, low, b)
            cx, cy, cz = _from(steps, low, c)
            volume += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        if directed == _U(0):
            turns[part] = 1 if volume >= 0 else -1
        else:
            turns[part] = 0
            if undirected != _U(0):
                faults[part] = 1


@njit(nogil=True, cache=True, inline="always")
def _pencil_range(low, high, reach, origin, count):  # type: ignore[no-untyped-def]
    """First and last pencil of one axis that has a voxel centre within `reach` steps of [low, high]."""
    # The first centre at or above low - reach, and the last at or below high + reach.
    first = ((low - reach - HALF + STEPS_PER_VOXEL - 1) >> STEP_BITS) - origin
    last = ((high + reach - HALF) >> STEP_BITS) - origin
    first = max(first, 0)
    last = min(last, count - 1)
    if first > last:
        return 1, 0
    return first // PENCIL, last // PENCIL


@njit(nogil=True, cache=True)
def sort_into_pencils(  # type: ignore[no-untyped-def]
    steps, faces, vertex_start, face_start, bounds, reaches, box, first_face, last_face, places, entries, fill
):
    """Count (fill False) or list (fill True) the faces first_face … last_face - 1 by the pencils that they concern.

    box: origin z, y, x and shape z, y, x in voxels; reaches: (p, 3) steps in x, y, z to which a part's
    membrane acts beyond its surface (0 without one); places: per pencil, the count, or the next place in
    `entries`.
    """
    pencils_y = (box[4] + PENCIL - 1) // PENCIL
    x_low = box[2] << STEP_BITS
    x_high = (box[2] + box[5]) << STEP_BITS
    part = np.searchsorted(face_start, first_face, side="right") - 1
    face = first_face
    while face < last_face:
        while face >= face_start[part + 1]:
            part += 1
        end = min(last_face, face_start[part + 1])
        reach_x, reach_y, reach_z = reaches[part, 0], reaches[part, 1], reaches[part, 2]
        away = (
            bounds[part, 0] - reach_x >= x_high
            or bounds[part, 3] + reach_x <= x_low
            or bounds[part, 1] - reach_y >= (box[1] + box[4]) << STEP_BITS
            or bounds[part, 4] + reach_y <= box[1] << STEP_BITS
            or bounds[part, 2] - reach_z >= (box[0] + box[3]) << STEP_BITS
            or bounds[part, 5] + reach_z <= box[0] << STEP_BITS
        )
        if away:
            face = end
            continue
        start = vertex_start[part]
        while face < end:
            a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
            ax, bx, cx = np.int64(steps[a, 0]), np.int64(steps[b, 0]), np.int64(steps[c, 0])
            low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
            if low_x - reach_x < x_high:
                # A face left of the box still turns the lines that pass it on their way in.
                near = high_x + reach_x > x_low
                ay, by, cy = np.int64(steps[a, 1]), np.int64(steps[b, 1]), np.int64(steps[c, 1])
                az, bz, cz = np.int64(steps[a, 2]), np.int64(steps[b, 2]), np.int64(steps[c, 2])
                z0, z1 = _pencil_range(
                    min(az, bz, cz), max(az, bz, cz), reach_z if near else 0, box[0], box[3]
                )
                y0, y1 = _pencil_range(
                    min(ay, by, cy), max(ay, by, cy), reach_y if near else 0, box[1], box[4]
                )
                for pencil_z in range(z0, z1 + 1):
                    for pencil_y in range(y0, y1 + 1):
                        pencil = pencil_z * pencils_y + pencil_y
                        if fill:
                            entries[places[pencil]] = face
                        places[pencil] += 1
            face += 1


@njit(nogil=True, cache=True, inline="always")
def _first_line(low_y, low_z, high_y, high_z, z):  # type: ignore[no-untyped-def]
    """The first voxel line in y whose centre is at or beyond an edge, at height z; exact, in integers."""
    rise = high_z - low_z
    offset = low_y - HALF
    numerator = (offset & (STEPS_PER_VOXEL - 1)) * rise + (high_y - low_y) * (z - low_z)
    return (offset >> STEP_BITS) - (-numerator) // (rise << STEP_BITS)


@njit(nogil=True, cache=True, inline="always")
def _grown(array):  # type: ignore[no-untyped-def]
    larger = np.empty(2 * array.size, array.dtype)
    larger[: array.size] = array
    return larger


@njit(nogil=True, cache=True)
def _crossings(  # type: ignore[no-untyped-def]
    steps,
    faces,
    start,
    entries,
    first,
    last,
    z_first,
    z_last,
    y_first,
    y_last,
    x_origin,
    x_count,
    lines,
    columns,
    signs,
):
    """Where the lines of a pencil cross the faces of one part: line in the pencil, first voxel at or beyond, turn.

    Crossings left of the box are put on its first voxel, those right of it are left out.
    """
    count = 0
    for entry in range(first, last):
        face = entries[entry]
        a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
        ay, az = np.int64(steps[a, 1]), np.int64(steps[a, 2])
        by, bz = np.int64(steps[b, 1]), np.int64(steps[b, 2])
        cy, cz = np.int64(steps[c, 1]), np.int64(steps[c, 2])
        normal_x = (by - ay) * (cz - az) - (cy - ay) * (bz - az)
        if normal_x == 0:
            continue
        low_z, high_z = min(az, bz, cz), max(az, bz, cz)
        row_first = max((low_z + HALF - 1) >> STEP_BITS, z_first)
        row_last = min((high_z - HALF - 1) >> STEP_BITS, z_last)
        if row_first > row_last:
            continue
        if (min(ay, by, cy) + HALF - 1) >> STEP_BITS > min((max(ay, by, cy) - HALF - 1) >> STEP_BITS, y_last):
            continue
        ax, bx, cx = np.int64(steps[a, 0]), np.int64(steps[b, 0]), np.int64(steps[c, 0])
        low_x, high_x = float(min(ax, bx, cx)), float(max(ax, bx, cx))
        normal_y = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
        normal_z = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        slope_y = -float(normal_y) / float(normal_x)
        slope_z = -float(normal_z) / float(normal_x)
        sign = 1 if normal_x < 0 else -1
        # Ends of the three edges in order of height; which of two at the same height comes first does not
        # matter.
        y0, z0, y1, z1, y2, z2 = ay, az, by, bz, cy, cz
        if z0 > z1:
            y0, z0, y1, z1 = y1, z1, y0, z0
        if z1 > z2:
            y1, z1, y2, z2 = y2, z2, y1, z1
            if z0 > z1:
                y0, z0, y1, z1 = y1, z1, y0, z0
        for row in range(row_first, row_last + 1):
            z = (row << STEP_BITS) + HALF
            one = _first_line(y0, z0, y2, z2, z)
            two = _first_line(y0, z0, y1, z1, z) if z < z1 else _first_line(y1, z1, y2, z2, z)
            for line in range(max(min(one, two), y_first), min(max(one, two) - 1, y_last) + 1):
                y = (line << STEP_BITS) + HALF
                x = float(ax) + slope_y * float(y - ay) + slope_z * float(z - az)
                x = min(max(x, low_x), high_x)
                column = np.int64(np.ceil((x - HALF) / STEPS_PER_VOXEL)) - x_origin
                if column >= x_count:
                    continue
                if count == lines.size:
                    lines, columns, signs = _grown(lines), _grown(columns), _grown(signs)
                lines[count] = (row - z_first) * PENCIL + line - y_first
                columns[count] = max(column, 0)
                signs[count] = sign
                count += 1
    return count, lines, columns, signs


@njit(nogil=True, cache=True)
def _sorted_crossings(count, lines, columns, signs, line_start, sorted_columns, sorted_signs):  # type: ignore[no-untyped-def]
    """The crossings by line and, on each, by column."""
    line_start[:] = 0
    for index in range(count):
        line_start[lines[index] + 1] += 1
    for line in range(PENCIL * PENCIL):
        line_start[line + 1] += line_start[line]
    if sorted_columns.size < count:
        sorted_columns, sorted_signs = np.empty(lines.size, np.int32), np.empty(lines.size, np.int8)
    # Filling from the back moves each line's end to its start, and insertion keeps it in order meanwhile.
    for index in range(count):
        line = lines[index]
        begin = line_start[line]
        place = begin
        column, sign = columns[index], signs[index]
        sorted_columns[place], sorted_signs[place] = column, sign
        line_start[line] = place + 1
    for line in range(PENCIL * PENCIL, 0, -1):
        line_start[line] = line_start[line - 1]
    line_start[0] = 0
    for line in range(PENCIL * PENCIL):
        begin, end = line_start[line], line_start[line + 1]
        for index in range(begin + 1, end):
            column, sign = sorted_columns[index], sorted_signs[index]
            place = index
            while place > begin and sorted_columns[place - 1] > column:
                sorted_columns[place], sorted_signs[place] = (
                    sorted_columns[place - 1],
                    sorted_signs[place - 1],
                )
                place -= 1
            sorted_columns[place], sorted_signs[place] = column, sign
    return sorted_columns, sorted_signs


@njit(nogil=True, cache=True)
def _nearest_surface(  # type: ignore[no-untyped-def]
    steps, faces, start, entries, first, last, turn, depth_nm, outer_nm, size_nm,
    z_first, z_last, y_first, y_last, x_origin, x_count, nearest, half_width, touched,
):  # fmt: skip
    """Squared distance (nm²) of the voxels in a part's narrow band to its surface, and which voxels these are.

    The band reaches from `depth_nm` inside to `outer_nm` outside. nearest: (voxels of the pencil,), infinite
    where not touched; half_width: half the voxel's extent along the normal of the nearest face, in nm.
    """
    size_x, size_y, size_z = size_nm[0], size_nm[1], size_nm[2]
    step_x, step_y, step_z = size_x / STEPS_PER_VOXEL, size_y / STEPS_PER_VOXEL, size_z / STEPS_PER_VOXEL
    reach = max(depth_nm, outer_nm)
    reach_squared = reach * reach
    count = 0
    for entry in range(first, last):
        face = entries[entry]
        a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
        ax, ay, az = np.int64(steps[a, 0]), np.int64(steps[a, 1]), np.int64(steps[a, 2])
        # In nm, relative to the first corner.
        bx, by, bz = (steps[b, 0] - ax) * step_x, (steps[b, 1] - ay) * step_y, (steps[b, 2] - az) * step_z
        cx, cy, cz = (steps[c, 0] - ax) * step_x, (steps[c, 1] - ay) * step_y, (steps[c, 2] - az) * step_z
        nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        edge = np.sqrt(bx * bx + by * by + bz * bz)
        if length <= 1e-9 or edge <= 0.0:
            # Without area it is the edges that its neighbours have too.
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        half = 0.5 * (abs(nx) * size_x + abs(ny) * size_y + abs(nz) * size_z)
        # The face's own plane: u along its first edge, v across, corners (0, 0), (edge, 0), (c_u, c_v).
        ux, uy, uz = bx / edge, by / edge, bz / edge
        vx, vy, vz = ny * uz - nz * uy, nz * ux - nx * uz, nx * uy - ny * ux
        c_u = cx * ux + cy * uy + cz * uz
        c_v = cx * vx + cy * vy + cz * vz
        second = np.sqrt((c_u - edge) * (c_u - edge) + c_v * c_v)
        third = np.sqrt(c_u * c_u + c_v * c_v)
        d2u, d2v = (c_u - edge) / second, c_v / second
        d3u, d3v = -c_u / third, -c_v / third
        # Signed distances from the plane, outward positive, between which the band lies.
        plane_low, plane_high = -depth_nm, outer_nm
        if turn < 0:
            plane_low, plane_high = -outer_nm, depth_nm
        elif turn == 0:
            plane_low, plane_high = -reach, reach
        # A ball around the face.
        mx, my, mz = (bx + cx) / 3, (by + cy) / 3, (bz + cz) / 3
        radius = np.sqrt(
            max(
                mx * mx + my * my + mz * mz,
                (bx - mx) * (bx - mx) + (by - my) * (by - my) + (bz - mz) * (bz - mz),
                (cx - mx) * (cx - mx) + (cy - my) * (cy - my) + (cz - mz) * (cz - mz),
            )
        )
        ball = (radius + reach) * (radius + reach)
        low_x, high_x = min(0.0, bx, cx) - reach, max(0.0, bx, cx) + reach
        low_y, high_y = min(0.0, by, cy) - reach, max(0.0, by, cy) + reach
        low_z, high_z = min(0.0, bz, cz) - reach, max(0.0, bz, cz) + reach
        # Voxel i's centre is at i * size - base, relative to the first corner.
        base_x, base_y, base_z = (ax - HALF) * step_x, (ay - HALF) * step_y, (az - HALF) * step_z
        row_first = max(np.int64(np.ceil((low_z + base_z) / size_z)), z_first)
        row_last = min(np.int64(np.floor((high_z + base_z) / size_z)), z_last)
        line_first = max(np.int64(np.ceil((low_y + base_y) / size_y)), y_first)
        line_last = min(np.int64(np.floor((high_y + base_y) / size_y)), y_last)
        for row in range(row_first, row_last + 1):
            rz = float((row << STEP_BITS) + HALF - az) * step_z
            for line in range(line_first, line_last + 1):
                ry = float((line << STEP_BITS) + HALF - ay) * step_y
                left_over = ball - (rz - mz) * (rz - mz) - (ry - my) * (ry - my)
                if left_over <= 0:
                    continue
                along = np.sqrt(left_over)
                x_low, x_high = max(low_x, mx - along), min(high_x, mx + along)
                plane = ny * ry + nz * rz
                if abs(nx) > 1e-6:
                    one, two = (plane_low - plane) / nx, (plane_high - plane) / nx
                    x_low, x_high = max(x_low, min(one, two)), min(x_high, max(one, two))
                elif plane < plane_low - 1e-3 or plane > plane_high + 1e-3:
                    continue
                column_first = max(np.int64(np.ceil((x_low + base_x) / size_x)), x_origin)
                column_last = min(np.int64(np.floor((x_high + base_x) / size_x)), x_origin + x_count - 1)
                if column_first > column_last:
                    continue
                u_line, v_line = uy * ry + uz * rz, vy * ry + vz * rz
                voxel = ((row - z_first) * PENCIL + line - y_first) * x_count + column_first - x_origin
                for column in range(column_first, column_last + 1):
                    rx = float((column << STEP_BITS) + HALF - ax) * step_x
                    height = nx * rx + plane
                    squared = height * height
                    best = nearest[voxel]
                    if squared < best:
                        u, v = ux * rx + u_line, vx * rx + v_line
                        # How far outside each edge, in the plane.
                        out1 = -v
                        out2 = (u - edge) * d2v - v * d2u
                        out3 = u * d3v - v * d3u
                        if out1 > 0 or out2 > 0 or out3 > 0:
                            aside = np.inf
                            if out1 > 0:
                                past = u if u < 0 else (u - edge if u > edge else 0.0)
                                aside = out1 * out1 + past * past
                            if out2 > 0:
                                t = (u - edge) * d2u + v * d2v
                                past = t if t < 0 else (t - second if t > second else 0.0)
                                aside = min(aside, out2 * out2 + past * past)
                            if out3 > 0:
                                t = (u - c_u) * d3u + (v - c_v) * d3v
                                past = t if t < 0 else (t - third if t > third else 0.0)
                                aside = min(aside, out3 * out3 + past * past)
                            squared += aside
                        if squared < best and squared <= reach_squared:
                            if best == _INF:
                                if count == touched.size:
                                    touched = _grown(touched)
                                touched[count] = voxel
                                count += 1
                            nearest[voxel] = squared
                            half_width[voxel] = half
                    voxel += 1
    return count, touched


@njit(nogil=True, cache=True, inline="always")
def _share(depth, half):  # type: ignore[no-untyped-def]
    """Share of a voxel on the inner side of a plane that lies `depth` nm outward of the voxel's centre."""
    return min(max(0.5 + depth / (2.0 * half), 0.0), 1.0)


@njit(nogil=True, cache=True)
def paint_pencils(  # type: ignore[no-untyped-def]
    steps, faces, vertex_start, face_start, turns, membranes_nm, size_nm, box, entries, entry_start,
    first_pencil, last_pencil, part_instance, part_class, part_material, instances, classes, materials, membrane,
):  # fmt: skip
    """Voxelize pencils first_pencil … last_pencil - 1 of a box into the four arrays (z, y, x).

    The parts are painted in their order. A voxel belongs to the last part that its centre lies in. A part
    takes its share of a boundary voxel away from the membranes painted before, and adds its own membrane's
    share.
    """
    depth_shape, height_shape, x_count = box[3], box[4], box[5]
    pencils_y = (height_shape + PENCIL - 1) // PENCIL
    voxels = PENCIL * PENCIL * x_count
    owner = np.empty(voxels, np.int32)
    cover = np.empty(voxels, np.float32)
    nearest = np.full(voxels, _INF, np.float32)
    half_width = np.empty(voxels, np.float32)
    touched = np.empty(4096, np.int32)
    lines, columns, signs = np.empty(4096, np.int32), np.empty(4096, np.int32), np.empty(4096, np.int8)
    sorted_columns, sorted_signs = np.empty(4096, np.int32), np.empty(4096, np.int8)
    line_start = np.empty(PENCIL * PENCIL + 1, np.int64)
    diagonal = 0.5 * np.sqrt(size_nm[0] * size_nm[0] + size_nm[1] * size_nm[1] + size_nm[2] * size_nm[2])
    for pencil in range(first_pencil, last_pencil):
        z_first = (pencil // pencils_y) * PENCIL
        y_first = (pencil % pencils_y) * PENCIL
        z_last = min(z_first + PENCIL, depth_shape) - 1
        y_last = min(y_first + PENCIL, height_shape) - 1
        owner[:] = -1
        cover[:] = 0.0
        entry = entry_start[pencil]
        part = 0
        while entry < entry_start[pencil + 1]:
            face = entries[entry]
            part = np.searchsorted(face_start, face, side="right") - 1
            stop = entry
            while stop < entry_start[pencil + 1] and entries[stop] < face_start[part + 1]:
                stop += 1
            start = vertex_start[part]
            count, lines, columns, signs = _crossings(
                steps, faces, start, entries, entry, stop, z_first + box[0], z_last + box[0], y_first + box[1],
                y_last + box[1], box[2], x_count, lines, columns, signs,
            )  # fmt: skip
            sorted_columns, sorted_signs = _sorted_crossings(
                count, lines, columns, signs, line_start, sorted_columns, sorted_signs
            )
            even_odd = turns[part] == 0
            thickness = membranes_nm[part]
            # Twice along the spans: the first time they are claimed, the second time emptied of older
            # membranes, for in between the boundary voxels need both.
            for again in range(2):
                if again == 1 and thickness > 0:
                    near, touched = _nearest_surface(
                        steps, faces, start, entries, entry, stop, turns[part], thickness + diagonal, diagonal,
                        size_nm, z_first + box[0], z_last + box[0], y_first + box[1], y_last + box[1], box[2],
                        x_count, nearest, half_width, touched,
                    )  # fmt: skip
                    for index in range(near):
                        voxel = touched[index]
                        distance = np.sqrt(float(nearest[voxel]))
                        depth = distance if owner[voxel] == part else -distance
                        half = float(half_width[voxel])
                        body = _share(depth, half)
                        bilayer = body - _share(depth - thickness, half)
                        nearest[voxel] = min(float(cover[voxel]), 1.0 - body) + bilayer
                for line in range(PENCIL * PENCIL if count > 0 else 0):
                    winding = 0
                    for index in range(line_start[line], line_start[line + 1]):
                        winding = winding ^ 1 if even_odd else winding + sorted_signs[index]
                        if winding != 0:
                            low = line * x_count + sorted_columns[index]
                            last = index + 1 == line_start[line + 1]
                            high = line * x_count + (x_count if last else sorted_columns[index + 1])
                            if again == 0:
                                owner[low:high] = part
                            else:
                                cover[low:high] = 0.0
                if again == 1 and thickness > 0:
                    for index in range(near):
                        voxel = touched[index]
                        cover[voxel] = nearest[voxel]
                        nearest[voxel] = _INF
            entry = stop
        for z in range(z_first, z_last + 1):
            for y in range(y_first, y_last + 1):
                voxel = ((z - z_first) * PENCIL + y - y_first) * x_count
                for x in range(x_count):
                    part = owner[voxel]
                    if part >= 0:
                        instances[z, y, x] = part_instance[part]
                        classes[z, y, x] = part_class[part]
                        materials[z, y, x] = part_material[part]
                    else:
                        instances[z, y, x] = 0
                        classes[z, y, x] = 0
                        materials[z, y, x] = 0
                    membrane[z, y, x] = np.uint8(np.rint(cover[voxel] * np.float32(255.0)))
                    voxel += 1
